"""The one course that all tests here look at: it is run once, in about 45 s, nearly all of it waiting."""

import pytest

from loadtest.rig.doors import DOORS
from tests.smuggling.cases import CASES
from tests.smuggling.corpora import llhttp, smuggler
from tests.smuggling.course import Course
from tests.smuggling.hyper import as_hyper_does


@pytest.fixture(scope="session")
def course(tmp_path_factory: pytest.TempPathFactory) -> Course:
    course = Course()
    own = {"native": CASES, "granian": tuple(map(as_hyper_does, CASES))}
    cases = {door: (*own[door], *llhttp(door), *smuggler(door)) for door in DOORS}
    course.run(cases, tmp_path_factory.mktemp("course"))
    return course
