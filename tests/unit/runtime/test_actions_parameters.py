"""What a trigger's own parameters make of its template when an action is performed."""

from __future__ import annotations

from tests.unit.runtime.test_actions import _End, _Fake, _play, _spec


class TestTheTemplatesParameters:
    HTTP = """\
template: {{name: t, http: {{url: "http://old", payload: [{{src: {{dependencyName: d, dataKey: n}}, dest: n}}]}}}}
parameters:
  - src: {{dependencyName: d, {src}}}
    dest: {dest}
"""

    def _fired(self, src: str, dest: str) -> tuple[_Fake, _End]:
        world = _Fake()
        return world, _play(_spec(self.HTTP.format(src=src, dest=dest)), world)

    def test_change_the_block(self) -> None:
        world, _ = self._fired('dataTemplate: "http://{{ .Input.host }}/"', "http.url")

        (kind, config, action) = world.fired[0]
        assert (kind, config.url, action.payload) == ("http", "http://a.example/", b'{"n":"5"}')

    def test_change_a_parameter_of_the_block(self) -> None:
        world, _ = self._fired("value: host", "http.payload.0.src.dataKey")

        assert world.fired[0][2].payload == b'{"n":"a.example"}'

    def test_change_the_kind(self) -> None:
        world = _Fake()
        text = """\
template: {name: t, log: {intervalSeconds: 1}}
parameters:
  - src: {dependencyName: d, dataTemplate: "http://{{ .Input.host }}"}
    dest: k8s.source.url.path
  - src: {dependencyName: d, value: create}
    dest: k8s.operation
"""

        _play(_spec(text), world)

        # Of two kinds the first in upstream's order counts.
        assert world.opened == ["k8s"]
        assert world.fired[0][1].source.url.path == "http://a.example"

    def test_that_write_beside_every_field_have_no_effect(self) -> None:
        world, end = self._fired("value: x", "nothing")

        assert [kind for kind, _, _ in world.fired] == ["http"]
        assert end.dead == []

    def test_that_make_it_wrong_are_a_dead_letter_that_says_what(self) -> None:
        world, end = self._fired("value: TRACE", "http.method")

        assert world.fired == []
        assert end.dead[0][0] == "1"
        assert "with its parameters applied the trigger is wrong: template.http.method" in end.dead[0][1]

    def test_do_not_change_the_name_under_which_the_trigger_is_known(self) -> None:
        world, end = self._fired("value: other", "name")

        assert world.fired[0][2].trigger == "t"
        assert end.count("argo_events_action_triggered") == 1
