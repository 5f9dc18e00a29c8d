"""Where the object of a trigger comes from: the block ``source`` and the places that it can name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field, model_validator

from argosy.manifests.fields import OURS, OWN_NAMESPACE, ConfigMapKeySelector, Json, Model, SecretKeySelector


class S3Bucket(Model):
    """A bucket and a key in it."""

    name: str = ""
    """The bucket."""
    key: str = ""
    """The object's key."""


class S3Source(Model):
    """An object in S3."""

    endpoint: str = ""
    """The host of the service, without a scheme."""
    bucket: S3Bucket | None = None
    """Which object."""
    region: str = ""
    """The region of the bucket."""
    insecure: bool = False
    """Without TLS."""
    access_key: SecretKeySelector | None = None
    """The access key."""
    secret_key: SecretKeySelector | None = None
    """The secret key."""
    events: list[str] = Field(default_factory=list)
    """Without effect here."""
    filter: dict[str, str] | None = None
    """Without effect here."""
    metadata: dict[str, str] = Field(default_factory=dict)
    """Without effect here."""
    ca_certificate: SecretKeySelector | None = None
    """Who must have signed the service's certificate."""


class GitCreds(Model):
    """A user name and a password or token for git over HTTPS."""

    username: SecretKeySelector | None = None
    """The user name."""
    password: SecretKeySelector | None = None
    """The password or token."""


class GithubApp(Model):
    """A GitHub App's key."""

    private_key: SecretKeySelector | None = None
    """The app's private key."""
    app_id: int = Field(0, alias="appID")
    """The app."""
    installation_id: int = Field(0, alias="installationID")
    """Its installation."""


class GitRemote(Model):
    """Another address of the repository; the first of ``urls`` is used instead of ``url``."""

    name: str
    """What the address is called."""
    urls: list[str] = Field(default_factory=list)
    """The addresses; the first counts."""


class GitSource(Model):
    """A file in a git repository."""

    dropped: ClassVar[Mapping[str, str]] = {
        "namespace": f"1.0; {OWN_NAMESPACE}",
        "sshKeyPath": "1.5; write 'sshKeySecret'",
    }

    url: str = ""
    """An https, http, ssh or git URL, or ``user@host:path``."""
    clone_directory: str = ""
    """The directory where the copy of the repository is kept; empty means one that is removed at the end."""
    creds: GitCreds | None = None
    """Counts before ``githubApp`` and ``sshKeySecret``."""
    github_app: GithubApp | None = None
    """The GitHub App in whose name a private repository is read."""
    ssh_key_secret: SecretKeySelector | None = None
    """A private key without a passphrase."""
    insecure_ignore_host_key: bool = False
    """Whether the server's SSH key is not verified."""
    host_keys: list[str] = Field(default_factory=list, json_schema_extra=OURS)
    """The SSH keys that the server may have, as in a ``.pub`` file or as ``ssh-keyscan`` prints them. Without any, the
    ``known_hosts`` of the user counts, or those that ``SSH_KNOWN_HOSTS`` names."""
    file_path: str = ""
    """The file, seen from the repository's root."""
    branch: str = ""
    """Empty means ``master``."""
    tag: str = ""
    """Counts before ``branch``."""
    ref: str = ""
    """A full name such as ``refs/pull/1/head``, a branch, or a full commit id. Counts before ``tag``."""
    remote: GitRemote | None = None
    """A further remote of the working copy."""


class FileSource(Model):
    """A local file."""

    path: str = ""
    """Where the file is."""


class URLSource(Model):
    """A document on the web."""

    path: str = ""
    """The document's URL."""
    verify_cert: bool | None = None
    """Whether the server's certificate must be right; it must unless this is false."""


class ConfigMapSource(ConfigMapKeySelector):
    """A document in a ConfigMap."""

    dropped: ClassVar[Mapping[str, str]] = {"namespace": f"1.0; {OWN_NAMESPACE}"}


class ArtifactLocation(Model):
    """Where a trigger's object comes from.

    Upstream takes the first of s3, inline, file, url, git, configmap, resource.
    """

    s3: S3Source | None = None
    """An object in S3."""
    inline: str | None = None
    """The object as YAML or JSON text."""
    file: FileSource | None = None
    """A file."""
    url: URLSource | None = None
    """A document on the web."""
    git: GitSource | None = None
    """A file in a git repository."""
    configmap: ConfigMapSource | None = None
    """A document in a ConfigMap."""
    resource: dict[str, Json] | None = None
    """The object itself."""

    @model_validator(mode="after")
    def _one(self) -> ArtifactLocation:
        if not self.model_fields_set:
            raise ValueError("names no place: give one of resource, inline, file, url, configmap, s3, git")
        return self
