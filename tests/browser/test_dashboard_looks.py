"""How the dashboard looks and is reached: by the keyboard, in any window, in light and in dark."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.acceptance.server import KEY
from tests.browser.desk import Desk

PLACES = ("overview", "notifications", "events", "outbox", "workflows", "recipients")


async def test_a_keyboard_is_enough(desk: Desk) -> None:
    page = desk.page
    event = desk.send("user.signed_up", {"name": "K"}, "keyboard")
    await desk.open()
    await expect(page.get_by_label("API key")).to_be_focused()
    await page.keyboard.type(KEY)
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("navigation", name="Main")).to_be_visible()

    await page.keyboard.press("/")
    await page.keyboard.type(event)
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="user.signed_up")).to_be_visible()
    await page.get_by_role("link", name="keyboard Welcome").focus()
    await page.keyboard.press("Enter")
    # Readers of the screen are told where the step led
    await expect(page.get_by_role("heading", name="keyboard was told in the app.")).to_be_focused()
    await page.get_by_role("link", name="Outbox").focus()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="Outbox", exact=True)).to_be_focused()


@pytest.mark.parametrize("width", [320, 390, 820, 1440])
async def test_every_place_fits_the_window(desk: Desk, width: int) -> None:
    page = desk.page
    person = {"id": f"fits-{'x' * 60}", "email": f"{'x' * 50}@example.com"}
    event = desk.send("comment.created", {"author": "G" * 60, "comment_id": width}, person)
    await page.set_viewport_size({"width": width, "height": 844})
    await desk.sign_in(f"#/events/{event}")
    await page.get_by_role("link", name="Replies to your comments").click(timeout=15_000)
    await expect(page.locator(".story")).to_be_visible()
    notification = page.url.rpartition("/")[2]
    things = (
        f"events/{event}",
        f"notifications/{notification}",
        "workflows/comment_reply",
        f"recipients/{person['id']}",
    )
    for place in (*PLACES, *things):
        await page.evaluate("place => { location.hash = `#/${place}` }", place)
        await expect(page.locator("main h1")).to_be_visible()
        await expect(page.locator("main .loading")).to_have_count(0, timeout=15_000)
        too_wide = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert too_wide <= 0, place


# Text on what is behind it: AA asks for 4.5 to 1.
PAIRS = [
    *((text, ground) for text in ("ink", "soft") for ground in ("paper", "surface", "sunken")),
    *(("accent", ground) for ground in ("paper", "surface", "accent-wash")),
    *((tone, f"{tone}-wash") for tone in ("good", "busy", "wait", "off", "bad")),
    *((tone, "surface") for tone in ("good", "wait", "bad")),
]

COLOUR = """name => {
    const probe = document.body.appendChild(document.createElement("i"));
    probe.style.setProperty("color", `var(--${name})`);
    const colour = getComputedStyle(probe).color;
    probe.remove();
    return colour.match(/[0-9.]+/g).slice(0, 3).map(Number);
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_text_stands_out_in_light_and_in_dark(desk: Desk, scheme: str) -> None:
    await desk.page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    await desk.open()
    for text, ground in PAIRS:
        light, dark = sorted(
            [luminance(await desk.page.evaluate(COLOUR, name)) for name in (text, ground)], reverse=True
        )
        assert (light + 0.05) / (dark + 0.05) >= 4.5, (text, ground)


def luminance(colour: list[float]) -> float:
    """Relative luminance as WCAG defines it."""
    parts = [c / 255 for c in colour]
    red, green, blue = (p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
