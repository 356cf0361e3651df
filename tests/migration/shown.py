"""Reports printed as their commands print them."""

from app.cli.options import GivenOptions
from app.cli.render import say_words
from app.cli.reports.copy_report import copy_document, copy_words
from app.cli.reports.verify_report import verify_document, verify_words
from app.migration.runs.report import CopyReport, VerifyReport


def show_copy(report: CopyReport) -> None:
    given = GivenOptions("copy")
    say_words(copy_words(report, copy_document(report, given), given))


def show_verify(report: VerifyReport) -> None:
    given = GivenOptions("verify")
    say_words(verify_words(report, verify_document(report, given), given))
