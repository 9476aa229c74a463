"""The closed vocabularies: channels, states, verdicts, reasons, outcomes, roles."""

from __future__ import annotations

from enum import IntEnum, StrEnum


class Channel(StrEnum):
    """A way to reach a person."""

    EMAIL = "email"
    SMS = "sms"
    PUSH = "push"
    WEB_PUSH = "web_push"
    IN_APP = "in_app"
    CHAT = "chat"
    WEBHOOK = "webhook"


class ContactKind(StrEnum):
    """What a contact point's value is."""

    EMAIL = "email"
    PHONE = "phone"
    FCM = "fcm"
    FCM_FID = "fcm_fid"
    APNS = "apns"
    WEBPUSH = "webpush"
    EXPO = "expo"
    SLACK = "slack"
    TEAMS = "teams"
    DISCORD = "discord"
    TELEGRAM = "telegram"
    URL = "url"


#: The channel that a kind of contact point belongs to.
CHANNEL_OF: dict[ContactKind, Channel] = {
    ContactKind.EMAIL: Channel.EMAIL,
    ContactKind.PHONE: Channel.SMS,
    ContactKind.FCM: Channel.PUSH,
    ContactKind.FCM_FID: Channel.PUSH,
    ContactKind.APNS: Channel.PUSH,
    ContactKind.EXPO: Channel.PUSH,
    ContactKind.WEBPUSH: Channel.WEB_PUSH,
    ContactKind.SLACK: Channel.CHAT,
    ContactKind.TEAMS: Channel.CHAT,
    ContactKind.DISCORD: Channel.CHAT,
    ContactKind.TELEGRAM: Channel.CHAT,
    ContactKind.URL: Channel.WEBHOOK,
}

#: The platforms of `POST .../devices`, and the kind each one makes.
PLATFORMS: dict[str, ContactKind] = {
    "fcm": ContactKind.FCM,
    "fcm_fid": ContactKind.FCM_FID,
    "apns": ContactKind.APNS,
    "webpush": ContactKind.WEBPUSH,
    "expo": ContactKind.EXPO,
}


class Priority(IntEnum):
    """Queues, the most urgent first; stored as its number."""

    critical = 0
    high = 1
    normal = 2
    bulk = 3


class DeliveryState(StrEnum):
    """Where a delivery stands."""

    PENDING = "pending"  #: due now, or waiting for a retry (a later `due_at`)
    DEFERRED = "deferred"  #: a decision put it off until `due_at`
    DIGESTED = "digested"  #: became part of a digest
    SENDING = "sending"  #: claimed by a worker, under its lease
    SENT = "sent"  #: a provider accepted it
    DELIVERED = "delivered"  #: a receipt says that it arrived
    FAILED = "failed"  #: given up, with a reason
    SUPPRESSED = "suppressed"  #: a decision said no, with a reason
    EXPIRED = "expired"  #: its time was over before it could go out
    CANCELLED = "cancelled"  #: withdrawn before it went out
    UNKNOWN = "unknown"  #: the provider may or may not have it, and the workflow says not to send twice


class VerdictKind(StrEnum):
    """What a decision says of one channel."""

    DELIVER = "deliver"
    DEFER = "defer"
    DIGEST = "digest"
    SUPPRESS = "suppress"


class Reason(StrEnum):
    """Why something wasn't, or not yet, sent. Closed: DESIGN.md section 3."""

    WORKFLOW_DISABLED = "workflow_disabled"
    CONDITION_FALSE = "condition_false"
    EXPIRED = "expired"
    DUPLICATE = "duplicate"
    NO_CONTACT_POINT = "no_contact_point"
    ADDRESS_SUPPRESSED = "address_suppressed"
    OPTED_OUT = "opted_out"
    QUIET_HOURS = "quiet_hours"
    SEND_WINDOW = "send_window"
    DELIVERY_WINDOW = "delivery_window"
    SCHEDULED = "scheduled"
    WAIT = "wait"
    DIGEST = "digest"
    CAP_HOUR = "cap_hour"
    CAP_DAY = "cap_day"
    ATTENTION_BUDGET = "attention_budget"
    ALREADY_SEEN = "already_seen"
    ALTERNATIVE_USED = "alternative_used"
    CANCELLED = "cancelled"
    HELD = "held"
    BAD_ADDRESS = "bad_address"
    PROVIDER_REFUSED = "provider_refused"
    RETRIES_EXHAUSTED = "retries_exhausted"
    PAYLOAD_INVALID = "payload_invalid"
    UNKNOWN_OUTCOME = "unknown_outcome"


#: A sentence for people behind every reason.
SENTENCES: dict[Reason, str] = {
    Reason.WORKFLOW_DISABLED: "The workflow is switched off.",
    Reason.CONDITION_FALSE: "The workflow's or the step's condition doesn't hold for this event and person.",
    Reason.EXPIRED: "It was no longer useful: its expiry had passed.",
    Reason.DUPLICATE: "The same thing was already told to this person within the deduplication window.",
    Reason.NO_CONTACT_POINT: "There is no address or device for this channel.",
    Reason.ADDRESS_SUPPRESSED: "Every address for this channel is on the suppression list.",
    Reason.OPTED_OUT: "The person, or a default, has switched this channel off for this type.",
    Reason.QUIET_HOURS: "It falls into the person's quiet hours.",
    Reason.SEND_WINDOW: "It falls outside the hours in which the workflow may send.",
    Reason.DELIVERY_WINDOW: "It falls outside the hours that the person prefers for this channel.",
    Reason.SCHEDULED: "The event asked for a later time.",
    Reason.WAIT: "The workflow waits before this step.",
    Reason.DIGEST: "It is gathered with others into one message.",
    Reason.CAP_HOUR: "The hourly limit is used up.",
    Reason.CAP_DAY: "The daily limit is used up.",
    Reason.ATTENTION_BUDGET: "The person's overall budget of messages is used up.",
    Reason.ALREADY_SEEN: "The person has already seen it elsewhere.",
    Reason.ALTERNATIVE_USED: "An earlier channel of the same strategy was used instead.",
    Reason.CANCELLED: "It was cancelled before it went out.",
    Reason.HELD: "An operator holds it back.",
    Reason.BAD_ADDRESS: "The provider says that the address doesn't exist or can't receive.",
    Reason.PROVIDER_REFUSED: "Every provider of the chain refused it.",
    Reason.RETRIES_EXHAUSTED: "Every provider of the chain failed, retries included.",
    Reason.PAYLOAD_INVALID: "The rendered message is not valid for the channel or its provider.",
    Reason.UNKNOWN_OUTCOME: "It may have been sent: the provider's answer was lost, and sending twice is not allowed.",
}


class OutcomeKind(StrEnum):
    """What one attempt came to. A complete answer is never uncertain."""

    ACCEPTED = "accepted"  #: the provider took it
    TRANSIENT = "transient"  #: try again
    THROTTLED = "throttled"  #: try again after a while; not counted as an attempt
    UNCERTAIN = "uncertain"  #: it left, and no complete answer came
    BAD_ADDRESS = "bad_address"  #: this address can't be reached: never fails over
    OPTED_OUT = "opted_out"  #: the provider knows that the person said no: never fails over
    REFUSED = "refused"  #: this message is not acceptable
    MISCONFIGURED = "misconfigured"  #: our account is wrong: fails over at once, raises an alarm


class ReceiptEvent(StrEnum):
    """What a provider says of a message after it accepted it."""

    SENT = "sent"  #: handed on to the network
    DELIVERED = "delivered"  #: it arrived
    BOUNCED = "bounced"  #: the address is bad for good
    FAILED = "failed"  #: it didn't arrive, and the address may be good
    COMPLAINED = "complained"  #: reported as spam
    OPENED = "opened"  #: the person, or their mail program, opened it
    CLICKED = "clicked"  #: a link in it was followed
    UNSUBSCRIBED = "unsubscribed"  #: said no at the provider (STOP, its unsubscribe link)
    RESUBSCRIBED = "resubscribed"  #: said yes again (START)
    HELP = "help"  #: asked what this is (HELP by SMS): counted, and changes nothing
    UNRECOGNISED = "unrecognised"  #: a word that this release doesn't know: kept raw, and counted


class ProviderStanding(StrEnum):
    """How a provider stands with us."""

    HEALTHY = "healthy"  #: used as its chain says
    DEMOTED = "demoted"  #: its delivery rate fell too low: used only where nothing better is left
    PROBING = "probing"  #: demoted, and the last probe was accepted
    DISABLED = "disabled"  #: switched off in the settings


class Role(StrEnum):
    """What a key may do; the table is in `clarion.security.roles`."""

    ADMIN = "admin"
    DEVELOPER = "developer"
    PRODUCER = "producer"
    SUPPORT = "support"
    VIEWER = "viewer"


class OnLimit(StrEnum):
    """What happens when a cap is used up."""

    DROP = "drop"
    DEFER = "defer"
    DIGEST = "digest"
