"""AWS's APIs without a vendor's library: whose name a call is made in, how it is signed, and what its answer means.

For sources and triggers alike. ``signing`` is Signature Version 4, ``credentials`` finds the credentials,
``client`` makes the calls. A vendor's library would cost 37 MB on disk and 59 MB of memory for one client; what
is used here of AWS is four calls of SQS, one of Lambda, four of SNS, two of STS and three of S3.
"""
