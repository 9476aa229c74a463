"""The operators' dashboard as an operator uses it, over a real server."""

from __future__ import annotations

import json
import re
import shlex
from datetime import UTC, datetime, timedelta
from pathlib import Path

from playwright.async_api import Page, Request, expect

from tests.acceptance.server import KEY
from tests.browser.desk import Desk, started

# What an e-mail might try. The frame around it has no origin and runs nothing.
HOSTILE = (
    '<h1 style="color: rgb(1, 2, 3)">Hello {{ event.data.name }}</h1><svg onload="top.ran = 1"></svg>'
    '<link rel="stylesheet" href="https://elsewhere.example/style.css"><script>top.ran = 1</script>'
)


async def test_the_root_leads_to_a_page_that_refuses_a_wrong_key(desk: Desk) -> None:
    await desk.page.goto(f"http://127.0.0.1:{desk.server.port}/")
    for wrong in ("not the key of anything", "clé"):
        await desk.page.get_by_label("API key").fill(wrong)
        await desk.page.get_by_role("button", name="Sign in").click()
        await expect(desk.page.get_by_role("alert")).to_have_text("This key isn't known, was revoked or has expired.")
    await expect(desk.page.get_by_role("navigation")).to_have_count(0)
    await desk.page.goto(f"http://127.0.0.1:{desk.server.port}/dashboard/outbox")
    await expect(desk.page).to_have_url(re.compile("/dashboard#/outbox$"))


async def test_a_page_is_asked_for_each_time_and_what_it_loads_is_kept_for_good(desk: Desk) -> None:
    url, get = f"http://127.0.0.1:{desk.server.port}", desk.page.request.get
    page = await get(f"{url}/dashboard")
    assert "script-src 'self';" in page.headers["content-security-policy"]
    assert "unsafe" not in page.headers["content-security-policy"]
    assert page.headers["x-content-type-options"] == "nosniff"
    assert page.headers["referrer-policy"] == "no-referrer"
    assert page.headers["cache-control"] == "no-cache"
    again = await get(f"{url}/dashboard", headers={"If-None-Match": page.headers["etag"]})
    assert (again.status, await again.body()) == (304, b"")

    (path,) = re.findall(r'<script type="module" src="(/static/[0-9a-f]{16}/dashboard/main.js)">', await page.text())
    script = await get(url + path)
    assert "immutable" in script.headers["cache-control"]
    assert script.headers["content-encoding"] == "gzip"
    whole = await get(url + path, headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in whole.headers
    assert await whole.text() == await script.text()
    # Under its plain name a file may change: another site that loads it asks each time
    plain = await get(f"{url}/static/dashboard/main.js")
    assert (plain.status, plain.headers["cache-control"]) == (200, "no-cache")
    for strange in (
        "/static/nothing.js",
        "/static/dashboard",
        "/static/..%2Faccess.py",
        "/static/0000000000000000/dashboard/main.js",
    ):
        assert (await get(url + strange)).status == 404


async def test_the_key_stays_in_the_tab_and_out_of_every_address(desk: Desk) -> None:
    await desk.sign_in()
    await expect(desk.page.get_by_role("heading", name="Overview")).to_be_visible()

    kept = await desk.page.evaluate("[localStorage.length, document.cookie, sessionStorage['clarion.key']]")
    assert kept == [0, "", KEY]
    assert desk.requests
    assert not [url for url in [desk.page.url, *desk.requests] if KEY in url]

    await desk.page.get_by_role("button", name="Sign out").click()
    await expect(desk.page.get_by_label("API key")).to_be_empty()
    assert await desk.page.evaluate("sessionStorage.length") == 0


async def test_a_new_installation_teaches_the_first_call_which_works(page: Page, tmp_path: Path) -> None:
    # Given a server that nothing has been sent to
    with started(tmp_path) as fresh:
        desk = Desk(page, fresh)
        await desk.sign_in()
        taught = await page.locator(".hero pre").inner_text()

        # When the call that it shows is made
        _, url, *options = shlex.split(taught.replace("$CLARION_KEY", KEY))
        assert url == f"http://127.0.0.1:{fresh.port}/v1/events"
        headers = dict(option.split(": ", 1) for option in options if ": " in option and option[0] != "{")
        answer = fresh.call("POST", "/v1/events", json.loads(options[-1]), key=None, headers=headers)
        assert answer.status == 202

        # Then what came of it shows up by itself
        row = page.get_by_role("link", name="ada Welcome In-app sent Email sent")
        await expect(row).to_be_visible(timeout=15_000)
        await expect(page.locator(".hero")).to_have_count(0)
        await expect(page.get_by_role("link", name="Sent today 2")).to_be_visible(timeout=15_000)
        assert desk.errors == []


async def test_a_test_event_goes_out_and_its_story_is_told(desk: Desk) -> None:
    page = desk.page
    # When an event is sent from here
    await desk.sign_in("#/events")
    await page.get_by_label("Type").select_option("user.signed_up")
    await page.get_by_label("Recipients", exact=False).first.fill("story")
    await page.get_by_label("Email of the first recipient").fill("story@example.com")
    await page.get_by_role("button", name="Send", exact=True).click()

    # Then its counts are live
    await expect(page.get_by_role("heading", name="user.signed_up")).to_be_visible()
    await expect(page.get_by_text("2 sent")).to_be_visible(timeout=15_000)
    await expect(page.get_by_role("progressbar")).to_have_attribute("aria-valuenow", "1")

    # and its notification says what happened, and why
    await page.get_by_role("link", name="story Welcome").click()
    await expect(page.get_by_role("heading", name="story was told in the app and by email.")).to_be_visible()
    story = page.locator(".story")
    for said in ("Event accepted", "user.signed_up for 1 recipient", "Decided", "In-app: sent", "Email: sent"):
        await expect(story.get_by_text(said, exact=True)).to_be_visible()
    await expect(story.get_by_text("on: the workflow's default")).to_have_count(2)

    # and the message itself is a click away
    await page.get_by_role("link", name="See the message").click()
    await expect(page.get_by_role("heading", name="Hello Ada, and welcome")).to_be_visible()
    await expect(page.get_by_text("to story@example.com")).to_be_visible()
    await expect(page.get_by_text("your account is ready")).to_be_visible()


async def test_why_somebody_was_not_told_is_said_in_words(desk: Desk) -> None:
    # Given somebody without an address who has switched off what is in the app
    said = {"preferences": [{"channel": "in_app", "enabled": False}]}
    assert desk.server.call("PATCH", "/v1/recipients/untold/preferences", said).status == 200
    event = desk.send("user.signed_up", {"name": "Untold"}, "untold")

    await desk.sign_in(f"#/events/{event}")
    await desk.page.get_by_role("link", name="untold Welcome").click()

    await expect(desk.page.get_by_role("heading", name="untold was not told.")).to_be_visible()
    verdicts = desk.page.locator(".story .verdict")
    await expect(verdicts).to_have_count(2)
    await expect(verdicts.nth(0)).to_contain_text("The person, or a default, has switched this channel off")
    await expect(verdicts.nth(0).locator(".ruling-suppress")).to_contain_text("off: the recipient")
    await expect(verdicts.nth(1)).to_contain_text("There is no address or device for this channel.")
    await expect(verdicts.nth(1)).to_contain_text("no_contact_point")


async def test_a_preview_shows_every_verdict_and_sends_nothing(desk: Desk) -> None:
    page = desk.page
    # Given somebody who sleeps at three
    profile = {"email": "asleep@example.com", "quiet_hours": [{"start": "22:00", "end": "08:00"}]}
    assert desk.server.call("PUT", "/v1/recipients/asleep", profile).status == 201
    three = datetime.now(UTC).replace(hour=3, minute=0) + timedelta(days=1)

    # When what would be decided then is asked for
    await desk.sign_in("#/events?type=user.signed_up&recipient=asleep")
    await page.get_by_label("Preview for another time").fill(f"{three:%Y-%m-%dT%H:%M}")
    await page.get_by_role("button", name="Preview").click()

    # Then both channels wait for the morning, and say why
    verdicts = page.locator(".foreseen .verdict")
    await expect(verdicts).to_have_count(2)
    for i in range(2):
        await expect(verdicts.nth(i)).to_contain_text("It falls into the person's quiet hours.")
        await expect(verdicts.nth(i)).to_contain_text("08:00")
    assert list(desk.server.notifications(recipient="asleep")) == []


async def test_data_is_checked_as_it_is_typed_and_by_the_server(desk: Desk) -> None:
    page = desk.page
    await desk.sign_in("#/events?type=comment.created")
    data = page.get_by_label("Data (JSON)")
    await expect(data).to_have_value('{\n  "author": "Grace",\n  "text": "Nice catch! I would not have seen that.",\n'
                                     '  "comment_id": "42",\n  "post_title": "A note on the engine"\n}')  # fmt: skip

    await data.fill('{"author": ')
    await expect(page.get_by_text("Not JSON")).to_be_visible()
    await page.get_by_role("button", name="Send", exact=True).click()
    await expect(data).to_be_focused()
    assert not [url for url in desk.requests if url.endswith("/v1/events")]

    await data.fill("{}")
    await expect(page.get_by_text("Not JSON")).to_have_count(0)
    await page.get_by_role("button", name="Send", exact=True).click()
    await expect(page.get_by_role("alert")).to_contain_text("author")


async def test_what_waits_can_be_cancelled_after_a_question(desk: Desk) -> None:
    page = desk.page
    later = (datetime.now(UTC) + timedelta(hours=2)).isoformat()
    event = desk.send("user.signed_up", {"name": "C"}, {"id": "cancelled", "email": "c@example.com"}, send_at=later)
    await desk.sign_in(f"#/events/{event}")
    await expect(page.get_by_text("2 deferred")).to_be_visible(timeout=15_000)

    await page.get_by_role("button", name="Cancel", exact=True).click()
    await page.get_by_role("button", name="Keep it").click()
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await page.get_by_role("button", name="Cancel", exact=True).click()
    await page.get_by_role("button", name="Cancel the event").click()

    await expect(page.get_by_text("Cancelled: 2 deliveries.")).to_be_visible()
    await expect(page.get_by_text("2 cancelled")).to_be_visible(timeout=15_000)
    await expect(page.get_by_role("button", name="Cancel", exact=True)).to_have_count(0)


async def test_an_email_is_shown_and_nothing_in_it_runs(desk: Desk) -> None:
    page = desk.page
    step = {"channel": "email", "subject": "Hello {{ event.data.name }}", "html": HOSTILE}
    assert desk.server.call("PUT", "/v1/workflows/hostile", {"on": ["hostile.sent"], "steps": [step]}).status == 201
    desk.send("hostile.sent", {"name": "<b>H</b>"}, {"id": "hostile", "email": "h@example.com"})
    await desk.sign_in("#/outbox?recipient=hostile")
    await expect(page.get_by_role("heading", name="Hello <b>H</b>")).to_be_visible(timeout=15_000)

    outer = page.frame_locator("iframe[title='The email as it looks']")
    email = outer.frame_locator("iframe").get_by_role("heading", name="Hello <b>H</b>")
    await expect(email).to_have_css("color", "rgb(1, 2, 3)")
    await expect(outer.locator("iframe")).to_have_attribute("sandbox", "")
    origins = [await frame.evaluate("origin") for frame in page.frames if "/dashboard/email" in frame.url]
    assert origins == ["null"]
    assert await page.evaluate("window.ran") is None
    assert not [url for url in desk.requests if "elsewhere.example" in url]
    # The browser says in so many words what it didn't run
    assert all("locked" in error and "script" in error for error in desk.errors), desk.errors
    desk.errors.clear()


async def test_what_people_call_themselves_is_text(desk: Desk) -> None:
    name = "<img src=x onerror=alert(1)>"
    event = desk.send("user.signed_up", {"name": name}, {"id": name, "email": "x@example.com"})
    await desk.sign_in(f"#/events/{event}")
    link = desk.page.get_by_role("link", name=f"{name} Welcome")
    await link.click(timeout=15_000)
    await expect(desk.page.get_by_role("heading", name=f"{name} was told")).to_be_visible()
    await desk.page.get_by_role("link", name=name, exact=True).click()
    await expect(desk.page.get_by_role("heading", name=name)).to_be_visible()
    await expect(desk.page.get_by_text("x@example.com")).to_be_visible()
    await expect(desk.page.locator("main img")).to_have_count(0)


async def test_filters_narrow_the_list_and_live_in_the_address(desk: Desk) -> None:
    page = desk.page
    desk.send("user.signed_up", {"name": "One"}, "filter-one", "filter-two")
    event = desk.send("login.new_device", {"device": "Lynx"}, "filter-one")
    await desk.sign_in("#/notifications")
    await page.get_by_label("Recipient", exact=True).fill("filter-one")
    rows = page.locator("main .rows > li")
    await expect(rows).to_have_count(2, timeout=15_000)
    await page.get_by_label("Event", exact=True).fill("no event's id")
    await expect(page.get_by_role("alert")).to_contain_text("Not found")
    await page.get_by_label("Event", exact=True).fill("")
    await expect(rows).to_have_count(2)
    await page.get_by_label("Workflow").select_option(label="Welcome")
    await expect(rows).to_have_count(1)
    await page.get_by_label("A delivery that is").select_option("failed")
    await expect(page.get_by_text("No notification fits")).to_be_visible()

    # The address leads there again, in a new tab of the same session too
    assert page.url.endswith("#/notifications?recipient=filter-one&workflow=welcome&state=failed")
    await desk.open(f"#/notifications?event={event}")
    await expect(rows).to_have_count(1)
    await expect(rows).to_contain_text("Security of your account")


async def test_a_workflow_reads_as_steps_and_renders_for_somebody(desk: Desk) -> None:
    page = desk.page
    assert desk.server.call("PUT", "/v1/recipients/heidi", {"locale": "de-CH"}).status == 201
    await desk.sign_in("#/workflows")
    await page.get_by_role("link", name="Replies to your comments").click()
    steps = page.locator(".steps > li")
    for i, said in enumerate(
        ("In-app at once", "Push at once", "Wait 10m, and end there if it was seen", "Email then")
    ):
        await expect(steps.nth(i)).to_contain_text(said)
    await expect(page.locator(".rendered")).to_have_count(3)
    await expect(page.locator(".rendered").first).to_contain_text("Grace replied to you")

    await page.get_by_label("Recipient", exact=True).fill("heidi")
    await page.get_by_role("button", name="Render").click()
    await expect(page.locator(".rendered").first).to_contain_text("Grace hat dir geantwortet")
    await page.get_by_text("As JSON").click()
    await expect(page.get_by_text('"key": "comment_reply"')).to_be_visible()


async def test_a_person_is_found_with_contacts_preferences_and_messages(desk: Desk) -> None:
    page = desk.page
    profile = {
        "email": "profile@example.com",
        "timezone": "Asia/Tokyo",
        "quiet_hours": [{"start": "22:00", "end": "08:00"}],
    }
    desk.server.call("PUT", "/v1/recipients/profile-a", profile)
    desk.server.call("PUT", "/v1/recipients/profile-b", {})
    said = {"preferences": [{"type": "welcome", "channel": "email", "enabled": False}]}
    desk.server.call("PATCH", "/v1/recipients/profile-a/preferences", said)

    await desk.sign_in("#/recipients")
    await page.get_by_label("Id begins with").fill("profile-")
    await expect(page.locator("main .rows > li")).to_have_count(2)
    await page.get_by_role("link", name="profile-a").click()
    for shown in ("profile@example.com", "Asia/Tokyo", "22:00 to 08:00"):
        await expect(page.get_by_text(shown)).to_be_visible()
    welcome = page.get_by_role("row", name="Welcome")
    await expect(welcome.get_by_role("cell").nth(0)).to_contain_text("off")
    await expect(welcome.get_by_role("cell").last).to_contain_text("on")


async def test_a_role_that_may_not_see_something_is_told_which_may(desk: Desk) -> None:
    page = desk.page
    await desk.sign_in(key=desk.key_of("viewer")["key"])
    # The statistics are a viewer's; the rest says whose it is
    await expect(page.get_by_role("link", name="Sent today")).to_be_visible()
    refusal = page.get_by_text("it takes admin or developer or support").first
    await expect(refusal).to_be_visible()
    for place in ("notifications", "outbox", "workflows", "recipients", "events"):
        await page.goto(f"{page.url.split('#')[0]}#/{place}")
        await expect(page.get_by_text("Your key may not see this").first).to_be_visible()


async def test_a_key_of_all_projects_chooses_one(desk: Desk) -> None:
    page = desk.page
    assert desk.server.call("POST", "/v1/projects", {"key": "shop"}).status == 201
    assert desk.server.call("PUT", "/v1/recipients/of-shop", {}, headers={"Clarion-Project": "shop"}).status == 201
    assert desk.server.call("PUT", "/v1/recipients/of-default", {}).status == 201

    await desk.sign_in("#/recipients?q=of-")
    await expect(page.get_by_role("link", name="of-default")).to_be_visible(timeout=15_000)
    await page.get_by_label("Project").select_option("shop")
    await expect(page.get_by_role("link", name="of-shop")).to_be_visible()
    await expect(page.get_by_role("link", name="of-default")).to_have_count(0)
    await page.get_by_role("link", name="Events").click()
    await expect(page.get_by_text("No workflow listens to any event yet")).to_be_visible()


async def test_a_key_that_is_revoked_leads_back_to_signing_in(desk: Desk) -> None:
    key = desk.key_of("developer")
    await desk.sign_in("#/notifications", key=key["key"])
    assert desk.server.call("DELETE", f"/v1/keys/{key['id']}").status == 204
    await expect(desk.page.get_by_text("This key isn't known any more")).to_be_visible(timeout=20_000)
    assert await desk.page.evaluate("sessionStorage.length") == 0


LOOK = """looked => {
    Object.defineProperty(document, "hidden", { configurable: true, value: !looked });
    document.dispatchEvent(new Event("visibilitychange"));
}"""


async def test_nothing_is_asked_for_while_nobody_looks(desk: Desk) -> None:
    page = desk.page
    await desk.sign_in()
    await expect(page.get_by_text("Live", exact=True)).to_be_visible()
    await page.evaluate(LOOK, False)
    await page.evaluate("location.hash = '#/outbox'")
    await expect(page.get_by_role("heading", name="Outbox")).to_be_visible()
    assert not [url for url in desk.requests if "/v1/outbox" in url]

    def is_outbox(request: Request) -> bool:
        return "/v1/outbox" in request.url

    async with page.expect_request(is_outbox):
        await page.evaluate(LOOK, True)


async def test_a_server_that_goes_away_is_said_to_and_found_again(page: Page, tmp_path: Path) -> None:
    with started(tmp_path) as server:
        desk = Desk(page, server)
        await desk.sign_in()
        await expect(page.get_by_role("heading", name="Send the first event")).to_be_visible()
        server.kill()
        await expect(page.get_by_text("The server doesn't answer")).to_be_visible(timeout=20_000)
        await expect(page.get_by_role("heading", name="Send the first event")).to_be_visible()
        server.start()
        await expect(page.get_by_text("The server doesn't answer")).to_have_count(0, timeout=20_000)
