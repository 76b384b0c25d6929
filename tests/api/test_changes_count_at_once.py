"""Roles, groups and scopes decide by what they are now: the next request after a change meets it."""

from __future__ import annotations


async def test_a_role_counts_from_the_next_request_on_and_until_it_is_taken(api):
    await api.house.add_users("ada")
    token = await api.house.token_of("ada")
    for _ in range(2):
        assert (await api("GET", "info", token=token)).status_code == 403
        async with api.house.store.begin() as tx:
            await tx.roles.upsert("watcher", description="", scopes=["read:hub"])
            [ada] = [await tx.users.find("ada")]
            await tx.roles.grant("user", ada.id, "watcher")
        assert (await api("GET", "info", token=token)).status_code == 200
        async with api.house.store.begin() as tx:
            await tx.roles.strip("user", ada.id, "watcher")


async def test_what_a_role_holds_counts_from_the_next_request_on(api):
    token = await api.house.service_with("watch", "read:users:name")
    assert (await api("GET", "info", token=token)).status_code == 403
    async with api.house.store.begin() as tx:
        await tx.roles.upsert("role-of-watch", description="", scopes=["read:hub"])
    assert (await api("GET", "info", token=token)).status_code == 200


async def test_membership_counts_from_the_next_request_on(api):
    await api.house.add_users("ada")
    await api("POST", "groups/crew")
    token = await api.house.service_with("watch", "read:users!group=crew")
    for _ in range(2):
        assert (await api("GET", "users/ada", token=token)).status_code == 404
        await api("POST", "groups/crew/users", json={"users": ["ada"]})
        assert (await api("GET", "users/ada", token=token)).status_code == 200
        await api("DELETE", "groups/crew/users", json={"users": ["ada"]})


async def test_the_admin_flag_counts_from_the_next_request_on(api):
    await api.house.add_users("ada", "bob")
    token = await api.house.token_of("ada")
    assert (await api("GET", "users/bob", token=token)).status_code == 404
    assert (await api("PATCH", "users/ada", json={"admin": True})).status_code == 403, "by a service without the flag"
    root = await api.house.service_with("real-root", "admin:users", admin=True)
    assert (await api("PATCH", "users/ada", json={"admin": True}, token=root)).status_code == 200
    assert (await api("GET", "users/bob", token=token)).status_code == 200
    assert (await api("PATCH", "users/ada", json={"admin": False}, token=root)).status_code == 200
    assert (await api("GET", "users/bob", token=token)).status_code == 404


async def test_a_revoked_token_and_a_deleted_user_end_at_once(api):
    await api.house.add_users("ada")
    kept = await api.house.token_of("ada")
    made = (await api("POST", "users/ada/tokens", json={})).json()
    assert (await api("GET", "user", token=made["token"])).status_code == 200
    assert (await api("DELETE", f"users/ada/tokens/{made['id']}")).status_code == 204
    assert (await api("GET", "user", token=made["token"])).status_code == 403
    assert (await api("GET", "user", token=kept)).status_code == 200
    assert (await api("DELETE", "users/ada")).status_code == 204
    assert (await api("GET", "user", token=kept)).status_code == 403
