"""``Spawner.profile_list``: what a choice becomes, what is remembered, and who else may have profiles of their own."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from traitlets import Any as AnyTrait
from traitlets import TraitError

from jupyterhub.spawner import Spawner
from jupyterhub.spawners import profiles

OFFERED = [
    {"display_name": "Small <one>", "description": "2 CPUs", "spawner_override": {"cpu_limit": 2}},
    {
        "slug": "gpu",
        "display_name": "GPU",
        "spawner_override": {"environment": {"KIND": "gpu"}, "cpu_limit": lambda spawner: 8},
        "profile_options": {
            "image": {
                "display_name": "Image",
                "choices": {
                    "torch": {"display_name": "PyTorch", "spawner_override": {"default_url": "/lab"}},
                    "jax": {"display_name": "JAX", "default": True, "spawner_override": {"default_url": "/tree"}},
                },
            },
            "memory": {
                "display_name": "Memory",
                "attribute": "mem_limit",
                "default": "2G",
                "pattern": "[0-9]+[MG]",
                "message": "A number and M or G",
            },
        },
    },
]


class Plain(Spawner):
    """A spawner that starts nothing."""

    async def start(self) -> Any:
        raise NotImplementedError

    async def stop(self, now: bool = False) -> None:
        raise NotImplementedError

    async def poll(self) -> int | None:
        return 0


def spawner(cls: type[Spawner] = Plain, **traits: Any) -> Any:
    return cls(user=SimpleNamespace(name="ada", groups=[]), **traits)


async def applied(offered: Any, options: dict[str, Any]) -> Any:
    made = spawner(profile_list=offered, environment={"KEPT": "1"})
    await made.run_apply_user_options(options)
    return made


async def test_a_choice_overrides_attributes_and_its_options_do_so_afterwards() -> None:
    made = await applied(OFFERED, {"profile": "gpu", "image": "torch", "memory": "4G"})
    assert (made.cpu_limit, made.default_url, made.mem_limit) == (8, "/lab", 4 * 1024**3)
    assert made.environment == {"KEPT": "1", "KIND": "gpu"}


async def test_without_a_choice_the_first_profile_counts_or_the_one_that_is_the_default() -> None:
    assert (await applied(OFFERED, {})).cpu_limit == 2
    assert (await applied([OFFERED[0], {**OFFERED[1], "default": True}], {})).default_url == "/tree"


async def test_a_form_a_link_and_a_program_mean_the_same() -> None:
    made = spawner(profile_list=OFFERED)
    by_form = await made.run_options_from_form(
        {"profile": ["gpu"], "profile-option-gpu--image": ["torch"], "profile-option-gpu--memory": ["512M"]}
    )
    by_link = await made.options_from_query({"profile": ["gpu"], "image": ["torch"], "memory": ["512M"]})
    assert by_form == by_link == {"profile": "gpu", "image": "torch", "memory": "512M"}


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ({"profile": ["no-such"]}, "profile"),
        ({"profile": ["gpu"], "image": ["no-such"]}, "profile-option-gpu--image"),
        ({"profile": ["gpu"], "memory": ["100 %"]}, "profile-option-gpu--memory"),
    ],
)
async def test_a_wrong_choice_is_refused_and_names_its_field(data: dict[str, Any], field: str) -> None:
    with pytest.raises(profiles.WrongChoice) as refused:
        await spawner(profile_list=OFFERED).run_options_from_form(data)
    assert refused.value.status_code == 400 and list(refused.value.jupyterhub_fields) == [field]
    with pytest.raises(profiles.WrongChoice):
        await applied(OFFERED, {name: value[0] for name, value in data.items()})


async def test_the_form_has_what_was_chosen_the_last_time() -> None:
    made = spawner(profile_list=OFFERED, user_options={"profile": "gpu", "image": "torch", "memory": '7"G'})
    form = " ".join((await made.get_options_form()).split())
    assert "Small &lt;one&gt;" in form and "7&#34;G" in form
    assert 'value="gpu" required checked' in form and '<option value="torch" selected>' in form


async def test_where_there_is_nothing_to_choose_there_is_no_form_but_the_profile_counts() -> None:
    assert await spawner(profile_list=OFFERED[:1]).get_options_form() == ""
    assert (await applied(OFFERED[:1], {})).cpu_limit == 2


async def test_a_list_may_be_computed_for_each_server() -> None:
    async def offered(of: Any) -> Any:
        await asyncio.sleep(0)
        return OFFERED if of.user.name == "ada" else []

    assert "GPU" in await spawner(profile_list=offered).get_options_form()
    assert (await applied(offered, {"profile": "gpu"})).cpu_limit == 8


async def test_a_form_of_the_deployment_wins() -> None:
    made = spawner(profile_list=OFFERED, options_form="<input name=x>")
    assert await made.get_options_form() == "<input name=x>"
    assert await made.run_options_from_form({"x": ["1"]}) == {"x": ["1"]}
    await made.run_apply_user_options({"x": ["1"]})
    assert made.cpu_limit is None


async def test_a_plugins_own_profile_list_is_its_own() -> None:
    class Plugin(Plain):
        profile_list = AnyTrait().tag(config=True)

    made = spawner(Plugin, profile_list=[{"kubespawner_override": {}}])
    assert await made.get_options_form() == ""
    assert await made.run_options_from_form({"x": ["1"]}) == {"x": ["1"]}
    await made.run_apply_user_options({"profile": "what it likes"})


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ([{"display_nam": "x"}], "display_nam"),
        ([{"description": "x"}], "needs a display_name"),
        ([{"display_name": "x"}, {"display_name": "X"}], "same slug"),
        ([{"display_name": "x", "profile_options": {"a": {}}}], "choices or an attribute"),
    ],
)
def test_a_list_that_cannot_be_meant_is_refused_at_once(wrong: Any, said: str) -> None:
    with pytest.raises(TraitError, match=said):
        spawner(profile_list=wrong)
