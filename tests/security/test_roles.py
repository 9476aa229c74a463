from __future__ import annotations

import pytest

from clarion.model.words import Role
from clarion.security.roles import PERMISSIONS, Permission, allows

P = Permission


def test_every_role_has_its_row() -> None:
    assert set(PERMISSIONS) == set(Role)


def test_the_admin_may_do_everything() -> None:
    assert all(allows(Role.ADMIN, permission) for permission in Permission)


def test_the_viewer_sees_statistics_and_nothing_else() -> None:
    assert [p for p in Permission if allows(Role.VIEWER, p)] == [P.STATS_READ]


@pytest.mark.parametrize("role", [r for r in Role if r is not Role.ADMIN])
def test_only_the_admin_handles_keys_and_projects(role: Role) -> None:
    touches = {P.KEYS_READ, P.KEYS_WRITE, P.PROJECTS_READ, P.PROJECTS_WRITE}
    assert not touches & PERMISSIONS[role]


@pytest.mark.parametrize("role", [r for r in Role if r not in (Role.ADMIN, Role.PRODUCER)])
def test_only_producers_send_events_and_make_tokens(role: Role) -> None:
    assert (
        not {P.EVENTS_WRITE, P.EVENTS_CANCEL, P.TOKENS_CREATE, P.RECIPIENTS_WRITE, P.RECIPIENTS_ERASE}
        & PERMISSIONS[role]
    )


def test_support_reads_masked_and_keeps_suppressions() -> None:
    writes = {p for p in PERMISSIONS[Role.SUPPORT] if not p.endswith(":read")}
    assert writes == {P.SUPPRESSIONS_WRITE}
    assert not allows(Role.SUPPORT, P.ADDRESSES_CLEAR)
    assert not allows(Role.SUPPORT, P.OUTBOX_READ)


def test_the_developer_writes_workflows_and_providers_only() -> None:
    writes = {p for p in PERMISSIONS[Role.DEVELOPER] if p.endswith(":write")}
    assert writes == {P.WORKFLOWS_WRITE, P.PROVIDERS_WRITE}
    assert allows(Role.DEVELOPER, P.DECISIONS_PREVIEW)


def test_a_producer_sees_no_statistics_outbox_or_notifications() -> None:
    assert not {P.STATS_READ, P.OUTBOX_READ, P.NOTIFICATIONS_READ} & PERMISSIONS[Role.PRODUCER]
