"""A foreign policy as a planner of ours."""

import os
import re
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from policy.foreign.answers import plan_from
from policy.foreign.child import Child
from policy.foreign.declaration import Declaration, declaration_of, merged
from policy.foreign.questions import PROTOCOL, frames_needed, question_of
from policy.foreign.sources import Source, source_of
from worldmodel.errors import BadPolicy, PolicyError
from worldmodel.plans import PLAN_TIMES_S, Observation, Plan

FAILURES = 3  # of a process, with one seed; then it is not asked again with that seed
STREAM = ("timeout", "crash", "garbage")  # failures after which a process begins anew
START_S = 120.0  # longest first start, where nothing is declared
ROOT = Path(__file__).resolve().parent.parent.parent


class ForeignPlanner:
    """A policy that is not ours, behind our protocol.

    Attributes:
        name: As declared; with the horizon where that is shorter than our plans.
        declared: What it says of itself.
        needs_pixels: False where it declares `cameras: []`.
    """

    def __init__(self, source: Source) -> None:
        """Start and greet it.

        Raises:
            BadPolicy: if it cannot be started, does not answer the greeting, or does not declare what it must.
        """
        self._source = source
        env = {"PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])}
        self._child = Child(source.command, source.cwd, env if source.hosted else None)
        self._number, self._failed_with = 0, (-1, 0, "")
        try:
            self.declared = self._greeted(first_s=_first_s(source))
        except BadPolicy:
            self.close()
            raise
        self.needs_pixels = self.declared.needs.cameras != ()
        self.name = _name_of(self.declared, source.label)

    def plan(self, observation: Observation, seed: int, memory: object | None = None) -> Plan:
        """Its answer in our terms; how long it took stands in `timing`.

        After FAILURES timeouts, crashes or lines of garbage with one seed it is not asked again with that seed. (A study asks
        everything of one scene with one seed, so its rows do not depend on who else was asked before.)

        Raises:
            PolicyError: if there is no usable answer.
            UnknownName, BadRequest, ClipTooShort: if the observation lacks what it wants to see.
        """
        del memory
        started = time.perf_counter()
        plan = plan_from(self.answer(observation, seed), self.declared.convention, self.name)
        return replace(plan, timing={"total_s": time.perf_counter() - started})

    def answer(self, observation: Observation, seed: int) -> dict[str, Any]:
        """What it says, as it says it; raises as `plan`."""
        self._check_patience(seed)
        self._number += 1
        request = question_of(
            observation, seed, self._number, self.declared, self._child.folder, hosted=self._source.hosted
        )
        try:
            answer = self._answered(request)
        except PolicyError as error:
            self._count(seed, error.kind)
            raise
        self._failed_with = (-1, 0, "")
        return answer

    def frames_needed(self, frequency_hz: float, otherwise: int) -> int:
        """Frames at a rate that an observation must have; `otherwise` where it wants all there are."""
        return frames_needed(self.declared.needs, frequency_hz, otherwise)

    @property
    def stderr(self) -> str:
        """The end of what it wrote to standard error, since it was last started."""
        return self._child.stderr

    def said_more(self, within_s: float = 0.05) -> bool:
        """Whether it goes on talking after its answer."""
        return self._child.said_more(within_s)

    def close(self) -> None:
        """End its process."""
        self._child.close()

    def _answered(self, request: dict[str, Any]) -> dict[str, Any]:
        if not self._child.alive:
            self._greeted_again()
        answer = self._child.ask(request, self.declared.needs.timeout_s)
        if answer.get("error") is not None:
            kind = "raised" if self._source.hosted else "refused"
            kind = "wrong shape" if answer.get("kind") == "wrong shape" else kind
            raise PolicyError(
                f"policy '{self.name}' {kind}: {_without_addresses(answer['error'])}. Its standard error may say more.",
                kind,
                self._child.stderr,
            )
        if answer.get("id") != request["id"]:
            self._child.kill()
            raise PolicyError(
                f"policy '{self.name}' answered request {str(answer.get('id'))[:20]} when another one was asked. Answer each request "
                "once, with its `id`.",
                "garbage",
                self._child.stderr,
            )
        return answer

    def _greeted_again(self) -> None:
        try:
            self._greeted(first_s=self.declared.needs.start_timeout_s)
        except BadPolicy as error:
            raise PolicyError(f"the policy did not start again: {error}", "crash", self._child.stderr) from error

    def _greeted(self, *, first_s: float) -> Declaration:
        greeting = {"type": "hello", "protocol": PROTOCOL, "detour": version("detour")}
        try:
            answer = self._child.ask(greeting, first_s)
        except PolicyError as error:
            end = f" It wrote: {error.stderr.strip()[-300:]}" if error.stderr.strip() else ""
            raise BadPolicy(
                f"policy '{self._source.label}' did not answer the greeting: {error}{end} (docs/your-policy.md has an example)."
            ) from error
        if answer.get("error") is not None:
            raise BadPolicy(
                f"policy '{self._source.label}' could not be made: {str(answer['error'])[:300]}. Correct the class or its name."
            )
        if answer.get("type") != "hello" or answer.get("protocol") != PROTOCOL:
            raise BadPolicy(
                f"policy '{self._source.label}' answered the greeting with type {answer.get('type')!r}, protocol "
                f'{answer.get("protocol")!r}; it must be \'hello\' and {PROTOCOL}. Answer {{"type": "hello", "protocol": {PROTOCOL}}}.'
            )
        return self._declared(answer)

    def _declared(self, answer: Mapping[str, Any]) -> Declaration:
        said, where = answer.get("declares") or {}, f"policy '{self._source.label}'"
        if not isinstance(said, Mapping):
            raise BadPolicy(f"{where} declares {type(said).__name__}; it must be `field: value` pairs. Correct it.")
        if "name" in self._source.declared:
            said = {**said, "name": self._source.declared["name"]}
        if self._source.hosted and not self._source.declared and set(said) <= {"name"}:
            said = {**said, "randomness": "seeded"}  # a class like our own planners: a Plan, from observation and seed
        return declaration_of(merged(self._source.declared, said, where), where, plans=self._source.hosted)

    def _check_patience(self, seed: int) -> None:
        with_seed, times, kind = self._failed_with
        if with_seed == seed and times >= FAILURES:
            raise PolicyError(
                f"policy '{self.name}' failed {FAILURES} times in a row here ({kind}) and was not asked again. Run "
                "`detour check-policy` on it.",
                "given up",
            )

    def _count(self, seed: int, kind: str) -> None:
        if kind in STREAM:
            before = self._failed_with[1] if self._failed_with[0] == seed else 0
            self._failed_with = (seed, before + 1, kind)


def foreign_planner(spec: str) -> ForeignPlanner:
    """The planner that a user names; one per name and process, so that its weights are loaded once.

    Raises:
        BadPolicy: if it cannot be found, started or understood.
    """
    return _opened(spec, os.getpid())


@lru_cache(maxsize=16)
def _opened(spec: str, pid: int) -> ForeignPlanner:
    del pid  # a fork has planners of its own
    return ForeignPlanner(source_of(spec))


def _first_s(source: Source) -> float:
    value = source.declared.get("start_timeout_s")
    return float(value) if isinstance(value, int | float) and value > 0 else START_S


def _without_addresses(told: Any) -> str:
    """A message that is the same in every run: memory addresses differ."""
    return re.sub(r"0x[0-9a-fA-F]+", "0x...", str(told))[:300]


def _name_of(declared: Declaration, label: str) -> str:
    name = declared.needs.name or label
    convention = declared.convention
    if convention is None or convention.horizon_s >= PLAN_TIMES_S[-1] - 1e-6:
        return name
    return f"{name} (says {convention.horizon_s:g} s, then straight on)"
