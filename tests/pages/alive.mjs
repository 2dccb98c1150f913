// What an open page says of a gateway that dies, and of a session that ends: `node alive.mjs ADDRESS FOLDER CHROMIUM NAME PASSWORD`.
//
// It says one line for each thing that it tried, `ok …` or `FAILED …`; with `KILL` and `START` it asks whoever started it to
// kill the gateway and to start it again, and waits for a line that says so.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { mkdirSync } from "node:fs";

const [address, folder, chromium, name, password] = process.argv.slice(2);
const { chromium: engine } = createRequire(`${process.cwd()}/`)("playwright-core");
mkdirSync(folder, { recursive: true });
let failures = 0;
const check = (ok, text) => { console.log(`${ok ? "ok    " : "FAILED"} ${text}`); if (!ok) failures += 1; };
const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const order = async (what) => { console.log(what); await answers.next(); };

const browser = await engine.launch({ executablePath: chromium, args: ["--no-sandbox", "--disable-gpu"] });
const context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
const open = async (path) => {
  const page = await context.newPage();
  page.setDefaultTimeout(20000);
  await page.goto(`${address}${path}`);
  return page;
};
const enter = async (page) => {
  await page.locator("input[name=name]").fill(name);
  await page.locator("input[name=password]").fill(password);
  await page.locator("input[name=password]").press("Enter");
  await page.getByText(`Logged in as ${name}`).waitFor();
};
const at = (page) => page.url().slice(address.length);
const banner = (page, words) => page.locator("#stale").filter({ hasText: words }).waitFor();
const quiet = (page) => page.waitForFunction(() => !document.querySelector("#stale").textContent && !document.querySelector(".stale"));

try {
  // ---- The way is kept ----
  const list = await open("/deliveries?state=dead");
  check(new URL(list.url()).pathname === "/login", "whoever is nobody is led to the login");
  await list.locator("input[name=name]").fill(name);
  await list.locator("input[name=password]").fill("not the password");
  await list.locator("input[name=password]").press("Enter");
  await list.getByText("Name or password is wrong").waitFor();
  await enter(list);
  check(at(list) === "/deliveries?state=dead", `and from there to what was wanted, also after a wrong password (${at(list)})`);

  // ---- The gateway dies ----
  const overview = await open("/");
  const live = await open("/deliveries?live=1");
  const steer = await open("/destinations/erp");
  const still = await open("/lanes");
  await overview.locator("#live").waitFor();
  await order("KILL");
  for (const [page, part, what] of [[overview, "#live", "the overview"], [live, "#rows", "a live list"]]) {
    await page.bringToFront();
    await banner(page, /^No answer from the gateway since \d\d:\d\d:\d\d UTC; what stands here is of then\.$/);
    check(await page.locator("#stale").getAttribute("role") === "alert", `${what} says that the gateway does not answer`);
    check(await page.locator(part).evaluate((one) => Number(getComputedStyle(one).opacity) < 0.8), `${what} is greyed`);
    await page.screenshot({ path: `${folder}/dead-${part.slice(1)}.png` });
  }

  await still.bringToFront();
  await banner(still, /^No answer from the gateway since \d\d:\d\d:\d\d UTC; what stands here is of then\.$/);
  check(true, "a page that asks for nothing by itself says so too");

  // ---- It comes back, and knows nobody any more ----
  await order("START");
  await still.bringToFront();
  await quiet(still);
  check(true, "and takes it back");
  await overview.bringToFront();
  await banner(overview, /^You are not logged in any more; what stands here is of \d\d:\d\d:\d\d UTC\. Log in again$/);
  check(await overview.getByText("What needs a person now").isVisible(), "what was there stays there");
  await overview.screenshot({ path: `${folder}/logged-out.png` });
  await live.bringToFront();
  await banner(live, "You are not logged in any more");
  check(await live.locator("#rows tbody tr").count() > 0, "also the rows of a live list");

  // ---- A dialog says so too ----
  await steer.bringToFront();
  await steer.getByRole("button", { name: "Pause…" }).click();
  await steer.locator("#command-error", { hasText: "log in again" }).waitFor();
  const told = await steer.locator("#command").innerText();
  check(!/token|header/i.test(told), `a dialog speaks of logging in and not of tokens: ${told.replace(/\s+/g, " ").slice(0, 160)}`);
  await steer.screenshot({ path: `${folder}/dialog-logged-out.png` });
  await steer.getByRole("link", { name: "Log in again, and come back here" }).click();
  await enter(steer);
  check(at(steer) === "/destinations/erp", `it leads to the login and back (${at(steer)})`);

  // ---- Whoever logs in again, in whatever tab, has the others back ----
  await overview.bringToFront();
  await quiet(overview);
  check(true, "the banner goes by itself with the next good answer, and nothing is grey any more");
  await live.bringToFront();
  await quiet(live);
  await context.clearCookies();
  await live.locator("#stale a").click();
  await enter(live);
  check(at(live) === "/deliveries?live=1", `the banner leads to the login and back (${at(live)})`);

  // ---- What else may come in place of an answer ----
  const odd = await open("/");
  const instead = async (answer, words, what) => {
    const handler = (route) => (route.request().headers()["hx-request"] ? answer(route) : route.continue());
    await odd.route(`${address}/`, handler);
    await banner(odd, words);
    check(await odd.getByText("What needs a person now").isVisible(), what);
    await odd.unroute(`${address}/`, handler);
    await quiet(odd);
  };
  await instead((route) => route.fulfill({ status: 503, body: "no" }), /with an error \(HTTP 503\) since/, "an error is told of");
  await instead((route) => route.fulfill({ status: 200, contentType: "text/html", body: "<p>Who are you?</p>" }), /something else is answered/, "the login of a proxy does not take the page's place");
  await instead(() => {}, /^No answer from the gateway/, "a gateway that hangs is told of");

  // ---- No way leads elsewhere ----
  const lured = await context.browser().newContext();
  const page = await lured.newPage();
  await page.goto(`${address}/login?to=${encodeURIComponent("//127.0.0.1:1/")}`);
  await enter(page);
  check(page.url() === `${address}/`, `the login leads to no other host (${page.url()})`);
} catch (error) {
  check(false, error.message.split("\n").slice(0, 5).join(" | "));
}
await browser.close();
process.exit(failures === 0 ? 0 : 1);
