"""What sources and triggers of Azure share."""
