// The explorer: Swagger UI over /openapi.json, and a panel that signs a person in and hands the access
// token to it. Tokens stay in this page's memory: a copy in storage would be shared by duplicated tabs,
// and the same refresh token used twice revokes the whole login.
"use strict";

const SCHEME = "accessToken"; // the security scheme's name in the document
const RENEW_AT = 0.8; // of the access token's life

const part = (id) => document.getElementById(id);
let session = null; // {user, access_token, refresh_token, expires_in}
let renewal = null;

const ui = SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#explorer",
  presets: [SwaggerUIBundle.presets.apis],
  layout: "BaseLayout",
  deepLinking: true,
  docExpansion: "list",
  filter: true,
  tryItOutEnabled: true,
  displayRequestDuration: true,
  defaultModelsExpandDepth: 0,
  validatorUrl: null,
});

async function call(path, body, accessToken) {
  const headers = { "content-type": "application/json" };
  if (accessToken) headers.authorization = `Bearer ${accessToken}`;
  const answer = await fetch(path, { method: "POST", headers, body: JSON.stringify(body) });
  const said = await answer.json().catch(() => ({ message: `the server answered ${answer.status}` }));
  if (!answer.ok) {
    const error = new Error(said.message || `the server answered ${answer.status}`);
    error.status = answer.status;
    throw error;
  }
  return said;
}

function say(text, wrong = false) {
  part("notice").textContent = text;
  part("notice").classList.toggle("wrong", wrong);
  part("notice").hidden = !text;
}

function show(next) {
  session = next;
  clearTimeout(renewal);
  part("sign-in").hidden = Boolean(session);
  part("signed-in").hidden = !session;
  if (!session) {
    ui.authActions.logout([SCHEME]);
    return;
  }
  part("who").textContent = `@${session.user.username}`;
  part("who-id").textContent = session.user.user_id;
  ui.preauthorizeApiKey(SCHEME, session.access_token);
  renewal = setTimeout(renew, session.expires_in * 1000 * RENEW_AT);
}

async function renew() {
  const before = session;
  try {
    const next = await call("/v1/auth/refresh", { refresh_token: before.refresh_token });
    if (session === before) show(next);
  } catch (error) {
    if (session !== before) return;
    if (error.status === 401) {
      show(null);
      say("The session has ended: log in again.", true);
    } else {
      renewal = setTimeout(renew, 5000);
    }
  }
}

async function attempt(path, body, done) {
  const buttons = document.querySelectorAll(".bar button");
  buttons.forEach((button) => (button.disabled = true));
  try {
    show(await call(path, body));
    part("password").value = "";
    say(done);
  } catch (error) {
    say(error.message, true);
  } finally {
    buttons.forEach((button) => (button.disabled = false));
  }
}

part("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  const [username, password] = [part("username").value.trim(), part("password").value];
  attempt("/v1/auth/login", { username, password }, "Signed in: the calls below carry your token.");
});

part("register").addEventListener("click", () => {
  if (!part("sign-in").reportValidity()) return;
  const [username, password] = [part("username").value.trim(), part("password").value];
  attempt(
    "/v1/users",
    { username, password, display_name: username },
    "Account created, and signed in: the calls below carry your token.",
  );
});

part("log-out").addEventListener("click", async () => {
  const before = session;
  show(null);
  say("Signed out.");
  // Gone from the page whatever the answer is.
  await call("/v1/auth/logout", { refresh_token: before.refresh_token }, before.access_token).catch(() => {});
});
