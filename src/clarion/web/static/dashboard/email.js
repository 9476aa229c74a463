// Shows the e-mail that the dashboard hands over, in a frame that runs nothing. This page has no origin of its own:
// it can reach neither the dashboard nor the API. Styles from elsewhere are left out: looking at a mail loads none.

addEventListener("message", (event) => {
  if (event.source !== parent) return;
  const email = new DOMParser().parseFromString(event.data, "text/html");
  for (const link of email.querySelectorAll("link, script, base, meta[http-equiv]")) link.remove();
  for (const style of email.querySelectorAll("style"))
    style.textContent = style.textContent.replace(/@import[^;]*;?/g, "");
  document.querySelector("iframe").srcdoc = `<!doctype html>${email.documentElement.outerHTML}`;
});
