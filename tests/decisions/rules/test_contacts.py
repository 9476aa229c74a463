from __future__ import annotations

from clarion.model.people import ContactPoint
from clarion.model.words import Channel, ContactKind
from tests.decisions.rules.samples import ADDRESS, PHONE, all_said, contact, context, decided, one

TABLET = contact(ContactKind.APNS, 5)
BOUNCED = contact(ContactKind.EMAIL, 6, suppressed="hard_bounce")


def test_in_app_needs_no_contact_point_and_others_do() -> None:
    verdicts = decided(context(contacts=()))
    assert all_said(verdicts) == {
        "in_app": "deliver",
        "push": "suppress no_contact_point",
        "email": "suppress no_contact_point",
    }
    assert one(verdicts, Channel.PUSH).trace[-1].detail == "no contact point for push"


def test_an_unknown_recipient_is_a_person_without_contact_points() -> None:
    verdict = one(decided(context(contacts=(), profile={"known": False})), Channel.EMAIL)
    assert (verdict.reason, verdict.trace[-1].detail) == ("no_contact_point", "the recipient is unknown")


def contacts_of(channel: Channel, *contacts: ContactPoint) -> tuple[ContactPoint, ...]:
    return one(decided(context(contacts=contacts)), channel).contacts


def test_a_step_goes_to_all_contact_points_of_its_channel_in_their_order() -> None:
    assert contacts_of(Channel.PUSH, TABLET, ADDRESS, PHONE) == (TABLET, PHONE)
    assert contacts_of(Channel.EMAIL, TABLET, ADDRESS, PHONE) == (ADDRESS,)


def test_suppressed_addresses_are_left_out_and_said_so() -> None:
    verdict = one(decided(context(contacts=(BOUNCED, ADDRESS))), Channel.EMAIL)
    assert verdict.contacts == (ADDRESS,)
    assert verdict.trace[0] == ("contact", "pass", "1 of 2 usable, the others suppressed: hard_bounce")


def test_a_channel_of_which_every_address_is_suppressed_gets_nothing() -> None:
    complained = contact(ContactKind.EMAIL, 7, suppressed="complaint")
    verdict = one(decided(context(contacts=(BOUNCED, complained, BOUNCED))), Channel.EMAIL)
    assert (verdict.reason, verdict.contacts) == ("address_suppressed", ())
    assert verdict.trace[-1].detail == "3 of 3 suppressed: hard_bounce, complaint"
