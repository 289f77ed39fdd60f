"""What containers may do: which names mean one image, and what is within a policy or beyond it."""

from __future__ import annotations

from pathlib import Path

import pytest

from scheduler.domain.errors import SettingsError
from scheduler.domain.images import full_name, host_of, matches
from scheduler.domain.job import ContainerOptions, Mount
from scheduler.policy.container_policy import (
    AllowedMount,
    ContainerPolicy,
    is_other_than_root,
    violations,
)
from scheduler.settings.namespaces import container_policies_of
from scheduler.settings.settings import load_settings

DIGEST = "sha256:" + "a" * 64
SAFE = ContainerPolicy()


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("busybox", "docker.io/library/busybox"),
        ("library/busybox", "docker.io/library/busybox"),
        ("docker.io/busybox", "docker.io/library/busybox"),
        ("docker.io/library/busybox", "docker.io/library/busybox"),
        ("index.docker.io/library/busybox", "docker.io/library/busybox"),
        ("team/app", "docker.io/team/app"),
        ("localhost/app", "localhost/app"),
        ("registry.example.com/app", "registry.example.com/app"),
        ("registry:5000/team/app", "registry:5000/team/app"),
        ("Registry/app", "Registry/app"),
    ],
)
def test_all_names_of_an_image_have_one_full_name(name: str, full: str) -> None:
    """A pattern could be gone round otherwise, by writing the same image another way."""
    assert full_name(name) == full
    assert host_of(name) == full.partition("/")[0]


@pytest.mark.parametrize(
    ("pattern", "repository", "allowed"),
    [
        ("*", "anything.example.com/x", True),
        ("busybox", "docker.io/library/busybox", True),
        ("docker.io/library/busybox", "busybox", True),
        ("busybox", "busybox2", False),
        ("busybox", "evil.example.com/busybox", False),
        ("registry.example.com/team/*", "registry.example.com/team/app", True),
        ("registry.example.com/team/*", "registry.example.com/team/deep/app", True),
        ("registry.example.com/team/*", "registry.example.com/teammate/app", False),
        ("registry.example.com/team/*", "registryXexample.com/team/app", False),
        ("registry.example.com/team/*", "evil.com/registry.example.com/team/app", False),
        ("team/*", "docker.io/team/app", True),
        ("team/*", "registry.example.com/team/app", False),
        ("*.example.com/*", "a.example.com/x/y", True),
        ("*.example.com/*", "example.com.evil.org/x", False),
        ("registry:5000/*", "registry:5000/app", True),
        ("registry:5000/*", "registry:5001/app", False),
    ],
)
def test_a_pattern_allows_what_its_full_name_matches(pattern: str, repository: str, allowed: bool) -> None:
    """`*` stands for anything, every other character for itself."""
    assert matches(pattern, repository) is allowed


def test_what_asks_for_nothing_is_within_the_policy() -> None:
    """The default lets ordinary jobs through."""
    assert violations(SAFE, "busybox", ContainerOptions()) == []
    assert SAFE.capabilities_of(ContainerOptions()) == SAFE.capabilities
    assert SAFE.network_of(ContainerOptions()) == "bridge"


@pytest.mark.parametrize(
    ("options", "field", "rule"),
    [
        (ContainerOptions(capabilities=("SYS_ADMIN",)), "capabilities", "allowed_capabilities"),
        (ContainerOptions(mounts=(Mount("/var/run/docker.sock", "/s"),)), "mounts", "allowed_mounts"),
        (ContainerOptions(mounts=(Mount("/", "/host"),)), "mounts", "allowed_mounts"),
        (ContainerOptions(network="host"), "network", "allowed_networks"),
        (ContainerOptions(network="secret-network"), "network", "allowed_networks"),
    ],
)
def test_what_is_beyond_the_default_policy_is_refused_by_its_rule(
    options: ContainerOptions, field: str, rule: str
) -> None:
    """The error has the field, and names the rule."""
    (error,) = violations(SAFE, "busybox", options)
    assert error.field == field
    assert f"'{rule}'" in error.message
    assert error.remedy
    assert rule in str(error)


def test_a_mount_is_allowed_exactly_as_the_operator_wrote_it() -> None:
    """Neither what lies below nor above, and for writing only where that is said."""
    policy = ContainerPolicy(
        allowed_mounts=(
            AllowedMount("/srv/data", read_only=True),
            AllowedMount("/srv/out", read_only=False),
        )
    )

    def is_allowed(source: str, *, read_only: bool = True) -> bool:
        return not violations(policy, "busybox", ContainerOptions(mounts=(Mount(source, "/x", read_only),)))

    assert is_allowed("/srv/data")
    assert not is_allowed("/srv/data", read_only=False)
    assert is_allowed("/srv/out", read_only=False)
    assert not is_allowed("/srv")
    assert not is_allowed("/srv/data/below")
    assert not is_allowed("/srv/out/link")
    assert not is_allowed("/srv/data2")


@pytest.mark.parametrize(
    ("user", "certain"),
    [
        ("1000", True),
        ("1000:1000", True),
        ("01000", True),
        (None, False),
        ("", False),
        ("0", False),
        ("00", False),
        ("root", False),
        ("nobody", False),
        ("1000:0", False),
        ("0:1000", False),
        ("1000:users", False),
    ],
)
def test_only_numbers_above_0_are_certainly_not_root(user: str | None, certain: bool) -> None:
    """A name means whatever the image says it does."""
    assert is_other_than_root(user) is certain


def test_what_a_policy_requires_has_to_be_asked_for() -> None:
    """Each requirement is a rule of its own, and a job that meets all of them passes."""
    policy = ContainerPolicy(require_read_only_root=True, require_non_root=True, require_digest=True)
    found = violations(policy, "busybox", ContainerOptions())
    assert [error.field for error in found] == ["read_only_root", "user", "pin_digest"]
    good = ContainerOptions(read_only_root=True, user="1000", docker_image_digest=DIGEST)
    assert violations(policy, "busybox", good) == []


def test_a_namespace_has_the_policy_of_all_but_for_what_it_says_itself(tmp_path: Path) -> None:
    """A rule that a namespace does not name is that of the whole daemon."""
    config = tmp_path / "timeball.toml"
    config.write_text(
        "pids_limit = 99\n"
        "[policy]\nallowed_images = ['registry.example.com/*']\nallowed_networks = []\n"
        "[namespaces.trusted.policy]\n"
        "allowed_capabilities = ['cap_net_raw']\nallowed_images = ['*']\npids_limit = 7\n"
    )
    policy_of = container_policies_of(load_settings(config))
    other, trusted = policy_of("other"), policy_of("trusted")
    assert (other.allowed_images, other.pids_limit) == (("registry.example.com/*",), 99)
    assert other.network_of(ContainerOptions()) == "none"
    assert (trusted.allowed_images, trusted.pids_limit) == (("*",), 7)
    assert trusted.allowed_capabilities == {"NET_RAW"}
    assert trusted.allowed_networks == ()


def test_a_policy_is_set_in_the_environment_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """With commas, like other lists."""
    monkeypatch.setenv("TIMEBALL_POLICY__ALLOWED_IMAGES", "busybox, registry.example.com/*")
    monkeypatch.setenv("TIMEBALL_POLICY__REQUIRE_NON_ROOT", "true")
    policy = container_policies_of(load_settings())("any")
    assert policy.allowed_images == ("busybox", "registry.example.com/*")
    assert policy.require_non_root


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("allowed_networks = ['host']", "'host' cannot be allowed"),
        ("allowed_networks = ['container:abc']", "cannot be allowed"),
        ("capabilities = ['ALL']", "is not a capability"),
        ("allowed_capabilities = ['net raw']", "is not a capability"),
        ("allowed_mounts = ['srv']", "is not a valid mount"),
        ("allowed_mounts = ['/srv/../etc:ro']", "is not a valid mount"),
        ("allowed_mounts = ['/srv/:ro']", "is not a valid mount"),
        ("allowed_mounts = ['/srv:rx']", "is not a valid mount"),
        ("allowed_mounts = ['/srv:rw', '/srv/data:ro']", "symbolic link"),
        ("allowed_images = ['busybox:1.36']", "is not a valid image pattern"),
        ("privileged = true", "Extra inputs are not permitted"),
    ],
)
def test_a_policy_that_would_open_the_host_or_mean_nothing_is_no_setting(
    tmp_path: Path, line: str, words: str
) -> None:
    """The daemon does not start with it, and says why."""
    config = tmp_path / "timeball.toml"
    config.write_text(f"[policy]\n{line}\n")
    with pytest.raises(SettingsError, match=words):
        load_settings(config)
