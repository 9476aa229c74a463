"""Rule 3: there is somewhere to send it, and not all of it is on the suppression list."""

from __future__ import annotations

from clarion.decisions.rules.case import Case, Ruling, suppress
from clarion.model.words import Channel, Reason


def reachable(case: Case) -> Ruling | None:
    """Takes the channel's contact points that aren't suppressed; in_app needs none."""
    channel, context = case.step.channel, case.run.context
    if channel is Channel.IN_APP:
        return None
    known = [contact for contact in context.contacts if contact.channel is channel]
    usable = [contact for contact in known if contact.suppressed is None]
    case.contacts = tuple(usable)
    if len(usable) == len(known) > 0:
        return None
    if not known:
        whose = f"no contact point for {channel}" if context.profile.known else "the recipient is unknown"
        return suppress("contact", Reason.NO_CONTACT_POINT, whose)
    causes = ", ".join(dict.fromkeys(contact.suppressed for contact in known if contact.suppressed is not None))
    if not usable:
        return suppress("contact", Reason.ADDRESS_SUPPRESSED, f"{len(known)} of {len(known)} suppressed: {causes}")
    case.passes("contact", f"{len(usable)} of {len(known)} usable, the others suppressed: {causes}")
    return None
