// Walks every page of the admin listener in a real browser, and does on it what people do: `node walk.mjs ADDRESS FOLDER CHROMIUM
// CONFIGURATION`, of which the last is changed on the way.
//
// It says one line for each thing that it tried, `ok …` or `FAILED …`, and leaves a picture of each page in FOLDER. It fails
// when anything failed, when a page wrote to its console, broke its own policy, asked anybody but the gateway for anything,
// or has a serious finding of axe.
import { createRequire } from "node:module";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";

const [address, folder, chromium, configuration] = process.argv.slice(2);
const require = createRequire(`${process.cwd()}/`);
const { chromium: engine } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
mkdirSync(folder, { recursive: true });

let failures = 0;
// A call that is refused on purpose stands in the browser's console.
let noisy = true;
const say = (ok, text) => { console.log(`${ok ? "ok    " : "FAILED"} ${text}`); if (!ok) failures += 1; };
const check = (condition, text) => say(Boolean(condition), text);

const browser = await engine.launch({ executablePath: chromium, args: ["--no-sandbox", "--disable-gpu"] });
const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, bypassCSP: false });
const page = await context.newPage();
page.setDefaultTimeout(15000);
page.on("console", (message) => { if (noisy && ["error", "warning"].includes(message.type())) say(false, `console of ${page.url()}: ${message.text()}`); });
page.on("pageerror", (error) => say(false, `script of ${page.url()}: ${error.message}`));
page.on("request", (request) => {
  if (!request.url().startsWith(address) && !request.url().startsWith("data:") && !request.url().startsWith("blob:")) {
    say(false, `${page.url()} asks ${request.url()}`);
  }
});

const api = async (path) => (await context.request.get(`${address}/api/v1${path}`)).json();
const open = async (path) => { await page.goto(`${address}${path}`); await page.waitForLoadState("networkidle"); };

// What whoever hears a page finds the way by.
const ORDER = ["landmark-unique", "heading-order", "empty-table-header", "region"];
// What of a page has to be moved sideways to be seen.
const cutOff = (within) => page.locator(`${within} .wide`).evaluateAll((boxes) => boxes.filter((box) => box.offsetParent && box.scrollWidth > box.clientWidth + 1).map((box) => box.getAttribute("aria-label")));
const small = async (path) => { await page.setViewportSize({ width: 390, height: 844 }); await open(path); };
const large = () => page.setViewportSize({ width: 1280, height: 900 });

const look = async (name) => {
  // Evaluated by the debugger, so that the page's own policy stays as it is.
  await page.evaluate(axe);
  const found = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
  const grave = found.violations.filter((one) => ["serious", "critical"].includes(one.impact) || ORDER.includes(one.id));
  check(grave.length === 0, `${name}: axe ${grave.map((one) => `${one.id}: ${one.nodes.map((node) => node.target).slice(0, 3).join(" ")}`).join("; ") || "has nothing serious"}`);
  await page.screenshot({ path: `${folder}/${name}.png`, fullPage: true });
  await page.setViewportSize({ width: 390, height: 844 });
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  check(wide <= 1, `${name}: at 390 pixels nothing sticks out (${wide})`);
  await page.screenshot({ path: `${folder}/${name}-390.png`, fullPage: true });
  await page.setViewportSize({ width: 1280, height: 900 });
};

const visit = async (name, path, words) => {
  await open(path);
  check(await page.title() !== "", `${name}: has a title`);
  for (const word of words) check(await page.locator("main").getByText(word).filter({ visible: true }).count() > 0, `${name}: shows ${JSON.stringify(String(word))}`);
  await look(name);
};

// Opens the dialog of a button, waits for the count, gives the reason and does it.
const command = async (button, reason, options = {}) => {
  await button.click();
  const dialog = page.locator("#command");
  await dialog.waitFor({ state: "visible" });
  if (options.counts) await page.getByText(options.counts).waitFor();
  check(await page.evaluate(() => document.activeElement.id) === "command-reason", `${await page.locator("#command-title").textContent()}: the reason is where one writes`);
  if (options.picture) await page.screenshot({ path: `${folder}/${options.picture}.png` });
  if (options.refusesWithout) {
    await page.locator("#command-yes").click();
    check(await page.getByText("Say why").isVisible(), "a change that needs a reason is not made without one");
  }
  await page.locator("#command-reason").fill(reason);
  if (options.before) await options.before();
  await page.locator("#command-yes").click();
  await dialog.waitFor({ state: "hidden" });
  await page.waitForLoadState("networkidle");
};
const until = async (what, test) => {
  for (let turn = 0; turn < 100; turn += 1) {
    if (await test()) return say(true, what);
    await new Promise((done) => { setTimeout(done, 150); });
  }
  return say(false, what);
};

try {
  // ---- Every page ----
  await visit("overview", "/", ["What needs a person now", "The ledger balances", /billing is paused/, /password/]);
  await visit("notifications", "/notifications", ["order-won", "Opportunity"]);
  await visit("deliveries", "/deliveries", ["delivered", "dead"]);
  await visit("dead", "/dead", [/422/]);
  await visit("lanes", "/lanes", ["Lanes"]);
  await visit("destinations", "/destinations", ["erp", "crm", "billing"]);
  await visit("destination", "/destinations/erp", ["Limits in force, and what made them so", /destination erp, line/]);
  await visit("sources", "/sources", ["order-won"]);
  await visit("source", "/sources/order-won", ["Set it up in Salesforce", /\/om\/order-won/]);
  await visit("refused", "/refused", [/not well-formed|unknown organization|organization/]);
  await visit("ledger", "/ledger?day=today", [/^Nothing that was taken on .* was lost so far/, "What must add up", /1 POST was refused by source order-won/, "What this does not say"]);
  check(await page.locator("#verdict").textContent() === (await api("/ledger/day?day=today")).text, "the ledger's page and the API give the same verdict");
  await open("/");
  await page.getByRole("link", { name: "Was anything lost yesterday?" }).click();
  await page.locator("#verdict").waitFor();
  check(await page.getByText(/^Nothing is known of .*: the accounts begin on/).isVisible(), "one click leads to yesterday's verdict");
  await page.keyboard.press("Tab");
  await page.getByRole("link", { name: "today" }).focus();
  await page.keyboard.press("Enter");
  await page.waitForURL(/day=today/);
  check(await page.locator("nav a[aria-current]").textContent() === "Ledger", "the ledger's days are turned by keyboard");
  const today = new Date().toISOString().slice(0, 10);
  await visit("audit", "/audit", ["Audit"]);
  await open(`/audit?from=${today}&to=${today}`);
  check(await page.getByRole("heading", { name: "Audit" }).isVisible(), "the audit log is asked for by days");
  await visit("configuration", "/configuration", ["What check says of it", "won-orders"]);
  await visit("workbench", "/workbench", ["Mapping workbench"]);
  await visit("start", "/start", ["A source: what Salesforce sends", "A message, delivered"]);
  const [delivered] = await api("/deliveries?state=delivered&limit=1&destination=erp");
  await visit("delivery", `/deliveries/${delivered.delivery_id}`, ["Attempt 1", "From record to call"]);
  await visit("message", `/notifications/${delivered.notification_row}`, ["Which routes take it now", "What the Salesforce administrator sees", "The record's history"]);
  await visit("find", "/find?q=ACME*", ["As what Name holds", "all deliveries"]);
  await visit("find-nothing", "/find?q=ACME-404", [/There is nothing of it/, "refused"]);
  await open("/");
  await page.getByRole("searchbox").fill("ACME-9");
  await page.keyboard.press("Enter");
  await page.waitForURL(/find\?q=ACME-9/);
  await page.waitForLoadState("networkidle");
  check(await page.locator("main .state.dead").count() > 0, "what is found by a value says where it stands");
  await page.locator("main table a[href^='/deliveries/']").first().click();
  await page.waitForLoadState("networkidle");
  check(await page.locator("main dd").getByText("ACME-9", { exact: true }).count() === 1, "a delivery shows what it is found by");
  await open(`/notifications/${delivered.notification_row}`);
  check((await page.getByText("open in Salesforce").getAttribute("href")).startsWith("https://"), "message: links to Salesforce");
  check(await page.locator("nav a[aria-current]").count() === 1, "the menu says where one is");

  // ---- Nothing is cut off ----
  await open(`/notifications/${delivered.notification_row}`);
  check((await cutOff("main")).length === 0, `message: nothing is cut off at 1280 pixels (${await cutOff("main")})`);
  await open("/ledger?day=today");
  check((await cutOff("main")).length === 0, `ledger: nothing is cut off at 1280 pixels (${await cutOff("main")})`);
  await small("/destinations");
  check((await cutOff("main")).length === 0, "destinations: at 390 pixels nothing is moved sideways");
  for (const row of await page.locator("main tbody tr").all()) {
    const seen = await row.locator(".state, .count").evaluateAll((all) => all.every((one) => one.getBoundingClientRect().left >= 0 && one.getBoundingClientRect().right <= window.innerWidth));
    check(seen && await row.locator(".count").count() === 4, `destinations: at 390 pixels the state and the numbers of ${await row.locator("a").first().textContent()} are seen`);
  }
  await page.screenshot({ path: `${folder}/destinations-390-first.png` });
  await small("/deliveries?destination=crm");
  const first = await page.locator("#rows tbody tr").first().boundingBox();
  check(first.y + 40 < 844, `deliveries: at 390 pixels the first row is on the first screen (${Math.round(first.y)})`);
  check(await page.getByText("Filters: destination crm").isVisible() && await page.locator("select[name=state]").isHidden(), "deliveries: at 390 pixels the filters are folded, and say what they are");
  await page.screenshot({ path: `${folder}/deliveries-390-first.png` });
  await page.getByText("Filters: destination crm").click();
  check(await page.locator("select[name=state]").isVisible(), "deliveries: folded filters are unfolded");
  await large();
  check(await page.locator("select[name=state]").isVisible() && await page.getByText("Filters: destination crm").isHidden(), "deliveries: on a large screen the filters are not folded");
  await small("/refused");
  await page.locator("main summary").first().evaluate((summary) => summary.append(` ${"x".repeat(120)}`));
  check(await page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth), "refused: a long word sticks out nowhere");
  await large();

  // ---- The charts are as wide as their boxes, and of now ----
  const moments = Array.from({ length: 30 }, (_, index) => new Date(Date.now() - (30 - index) * 300e3).toISOString());
  const line = (value) => moments.map(() => value);
  let asked = 0;
  const series = (route) => {
    asked += 1;
    const counts = { waiting: line(asked), dead: line(0), delivered: line(3) };
    return route.fulfill({ json: { at: moments, sources: { a: { received: line(5) } }, destinations: { erp: counts, crm: counts }, ack_p99_ms: line(4) } });
  };
  await page.route("**/api/v1/series**", series);
  for (const width of [1280, 1700, 700, 390, 1280]) {
    await page.setViewportSize({ width, height: 900 });
    if (width === 1280 && asked === 0) await open("/");
    await page.locator(".uplot").nth(3).waitFor();
    await until(`overview: at ${width} pixels no chart is cut off`, () => page.locator(".chart").evaluateAll((boxes) => {
      const fits = boxes.map((box) => [box.clientWidth, box.querySelector(".uplot").offsetWidth]);
      return fits.length === 4 && fits.every(([room, chart]) => Math.abs(room - chart) <= 1);
    }));
    if (width !== 390) await page.screenshot({ path: `${folder}/charts-${width}.png`, fullPage: true });
  }
  await page.unroute("**/api/v1/series**");
  // A browser of its own, whose clock is turned on.
  const apart = await browser.newContext({ viewport: { width: 1280, height: 900 } });
  const later = await apart.newPage();
  await later.clock.install();
  await later.route("**/api/v1/series**", series);
  await later.goto(address);
  await later.locator(".uplot").nth(3).waitFor();
  const once = asked;
  await later.clock.fastForward(61e3);
  await until("overview: the charts are asked for anew each minute", async () => asked > once);
  check(await later.locator(".uplot").count() === 4, "overview: and drawn in their places");
  await apart.close();

  // ---- Filters stand in the address; a view is saved under a name ----
  await open("/deliveries");
  await page.locator("select[name=state]").selectOption("dead");
  await page.locator("select[name=destination]").selectOption("crm");
  await page.getByRole("button", { name: "Show" }).click();
  await page.waitForLoadState("networkidle");
  check(page.url().includes("state=dead") && page.url().includes("destination=crm"), "a filter stands in the address");
  const states = await page.locator("#rows .state").allTextContents();
  check(states.length > 0 && states.every((state) => state === "dead"), "the list shows what is asked for");
  await page.locator("#view-name").fill("dead of crm");
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByRole("link", { name: "dead of crm" }).waitFor();
  // Somebody else, in another browser.
  const colleague = await browser.newContext({ viewport: { width: 1280, height: 900 } });
  const desk = await colleague.newPage();
  await desk.goto(`${address}/deliveries`);
  check(await desk.getByRole("link", { name: "dead of crm" }).count() === 1, "a saved view is there for a colleague");
  await colleague.close();
  await open("/deliveries");
  await look("deliveries-views");
  await page.getByRole("link", { name: "dead of crm" }).click();
  await page.waitForLoadState("networkidle");
  check(page.url().includes("destination=crm"), "a saved view leads back");
  await command(page.getByRole("button", { name: "Forget the view dead of crm" }), "nobody needs it");
  check(await page.getByRole("link", { name: "dead of crm" }).count() === 0, "a saved view is forgotten");

  // ---- By keyboard alone ----
  await open("/deliveries?state=dead");
  await page.keyboard.press("Tab");
  check(await page.evaluate(() => document.activeElement.className) === "skip", "the first Tab offers to skip the menu");
  await page.keyboard.press("Enter");
  await page.keyboard.press("/");
  check(await page.evaluate(() => document.activeElement.name) === "q", "a slash goes to the box that finds things");

  // ---- One dead letter is replayed, with its call shown first ----
  const [dead] = await api("/deliveries?state=dead&destination=crm&limit=1");
  await open(`/deliveries/${dead.delivery_id}`);
  await command(page.getByRole("button", { name: "Replay…", exact: true }), "the address was corrected", { counts: /It would call: PUT/, picture: "dialog-replay" });
  await until("a replayed dead letter goes out again", async () => (await api(`/deliveries/${dead.delivery_id}`)).delivery.attempts >= 2);

  // ---- A second tab, in which the delivery is still dead ----
  const [stale] = await api("/deliveries?state=dead&destination=crm&limit=1");
  await open(`/deliveries/${stale.delivery_id}`);
  await context.request.post(`${address}/api/v1/deliveries/${stale.delivery_id}/discard`, { data: { reason: "a test order" } });
  noisy = false;
  await page.getByRole("button", { name: "Discard…", exact: true }).click();
  await page.locator("#command-reason").fill("twice");
  await page.locator("#command-yes").click();
  await page.getByText(/is discarded/).first().waitFor();
  check(await page.locator("#command-now a").getAttribute("href") === `/deliveries/${stale.delivery_id}`, "a stale tab leads to how the delivery stands now");
  await page.screenshot({ path: `${folder}/dialog-stale.png` });
  await page.keyboard.press("Escape");
  check(await page.locator("#command").isHidden(), "Escape closes a dialog");
  noisy = true;

  // ---- Edit and resend ----
  const [wrong] = await api("/deliveries?state=dead&destination=erp&limit=1");
  await open(`/deliveries/${wrong.delivery_id}/edit`);
  await page.locator("[data-field=Amount]").fill("12.50");
  await page.locator("#edit-reason").fill("typo in the amount");
  await page.getByRole("button", { name: "See what would be sent" }).click();
  await page.getByText("It would be sent").waitFor();
  check(await page.locator("#edit-result pre").textContent().then((text) => text.includes("12.50")), "edit: the call with the edited value is shown");
  await page.screenshot({ path: `${folder}/edit-preview.png`, fullPage: true });
  await page.locator("#edit-send").click();
  await page.waitForURL(/\/deliveries\/\d+$/);
  const edited = Number(page.url().split("/").pop());
  await until("edit: what was edited is delivered", async () => (await api(`/deliveries/${edited}`)).delivery.state === "delivered");

  // ---- A selection is held and released; all that a filter finds is held ----
  await open("/deliveries?state=waiting&destination=billing");
  await page.locator("input[name=pick]").nth(0).check();
  await page.locator("input[name=pick]").nth(1).check();
  check(await page.getByText("2 selected").isVisible(), "a selection is counted");
  await command(page.getByRole("button", { name: "Hold…" }), "look at these two first", { counts: "2 deliveries." });
  await until("a selection is held", async () => (await api("/deliveries?state=held&destination=billing")).length === 2);
  await open("/deliveries?state=held&destination=billing");
  await command(page.getByRole("button", { name: "Release…" }), "they are fine", { counts: "2 deliveries." });
  await until("a filter is released", async () => (await api("/deliveries?state=held&destination=billing")).length === 0);
  await open("/deliveries?state=waiting&destination=billing");
  await page.locator("input[name=pick]").nth(0).check();
  await command(page.getByRole("button", { name: "Discard…" }), "a test order", { counts: "1 delivery.", refusesWithout: true });
  await until("one is discarded", async () => (await api("/deliveries?state=discarded&destination=billing")).length === 1);

  // ---- A whole issue is replayed ----
  const [locked] = await api("/deliveries?state=waiting&destination=billing&limit=1");
  check(locked, "something waits for a paused system");
  await open("/deliveries?state=waiting&destination=billing");
  await page.locator("input[name=pick]").nth(0).check();
  await command(page.getByRole("button", { name: "Hold…" }), "look first", { counts: "1 delivery." });
  await until("one is held", async () => (await api("/deliveries?state=held&destination=billing")).length === 1);
  await open("/deliveries?state=held&destination=billing");
  await page.getByRole("button", { name: "Release…" }).click();
  await page.getByText(/omgate systems resume billing/).waitFor();
  check(await page.getByText("resume billing too").isVisible(), "what is let go to a paused system may be resumed with it");
  await page.screenshot({ path: `${folder}/dialog-waits.png` });
  await page.locator("#command-reason").fill("the password is right again");
  await page.locator("#command-resume").check();
  await page.locator("#command-yes").click();
  await page.locator("#command").waitFor({ state: "hidden" });
  await page.waitForLoadState("networkidle");
  check((await api("/audit?verb=resume&object=system")).some((entry) => entry.object_id === "billing"), "it is resumed with it");

  const issues = await api("/issues");
  await open("/dead");
  check(await page.locator("article.card").count() === issues.length, "dead letters are grouped as the API groups them");
  await command(page.getByRole("button", { name: "Replay all…" }).first(), "fixed at their side", { counts: /deliver(y|ies)\./ });
  await until("an issue is replayed as a job", async () => (await api("/jobs")).some((job) => job.verb === "replay" && job.ended_at));

  // ---- The ERP is stopped for an hour, and goes on ----
  await open("/destinations/erp");
  await command(page.getByRole("button", { name: "Pause…" }), "maintenance", {
    refusesWithout: true,
    counts: /Nothing is sent to this system until then/,
    picture: "dialog-pause",
    before: async () => {
      const says = async (words) => check(await page.locator("#command-yes").textContent() === words, `the button says ${words}`);
      await says("Pause until resumed");
      await page.locator("#command-until").fill("2099-01-31T06:00");
      await says("Pause until 2099-01-31 06:00");
      await page.getByRole("button", { name: "1 hour" }).click();
      await says("Pause for 1 hour");
    },
  });
  const left = new Date((await api("/systems")).erp.paused.until) - Date.now();
  check(left > 3500e3 && left <= 3660e3, `a pause for an hour ends in an hour (${Math.round(left / 1000)} s)`);
  check(await page.getByText(/is paused since/).first().isVisible(), "a paused destination says so");
  await command(page.getByRole("button", { name: "Resume…" }), "done earlier", { counts: /(Nothing waits|deliver(y|ies) waits?)\..* It is called again/, picture: "dialog-resume" });
  check((await api("/systems")).erp.paused === null, "a paused destination goes on");

  // ---- A destination is tried ----
  await page.getByRole("button", { name: "Test the connection" }).click();
  await page.locator("#command").waitFor({ state: "visible" });
  await page.locator("#command-yes").click();
  await page.getByText(/connect/i).first().waitFor();
  say(true, "a destination is tried");
  await page.keyboard.press("Escape");

  // ---- The workbench ----
  await open(`/workbench?route=won-orders&notification=${delivered.notification_row}`);
  await page.getByText("POST http").first().waitFor();
  await page.getByLabel("Expression of Currency").fill("'USD'");
  await page.getByText("Against what is in force").first().waitFor();
  check(await page.locator(".added").first().textContent().then((text) => text.includes("USD")), "workbench: an edited expression shows in the call");
  await page.screenshot({ path: `${folder}/workbench-edited.png`, fullPage: true });
  await page.getByLabel("Expression of Currency").fill("record.Nmae");
  await page.locator("#wb-map .problem:not(:empty)").first().waitFor();
  check(await page.locator("#wb-map .problem:not(:empty)").first().textContent().then((text) => /Name/.test(text)), "workbench: an error stands at its place, with the nearest name");
  await page.screenshot({ path: `${folder}/workbench-error.png`, fullPage: true });

  await page.getByLabel("Expression of Currency").fill("'USD'");
  await page.getByRole("button", { name: "Try it on the last 100 stored messages" }).click();
  await page.getByText(/looked at: \d+ stay the same/).waitFor();
  check(await page.locator("#wb-result td.added").first().textContent() === "USD", "workbench: an edit is tried on what is stored");
  await look("workbench-last");
  check(await page.locator("#wb-newest button").count() > 0, "workbench: the newest of the source are offered");
  // What it shows stands in its address, less what was pasted.
  await page.reload();
  await page.getByText("Against what is in force").first().waitFor();
  check(await page.getByLabel("Expression of Currency").inputValue() === "'USD'", "workbench: a reload keeps what was edited");
  await page.locator("#wb-when").fill("record.Name != 'x'");
  await page.getByRole("button", { name: "Add an element" }).click();
  await page.locator(".wb-target").fill("Customer.Name");
  await page.locator(".wb-expression").last().fill("record.Name");
  await page.goto(`${address}/sources`);
  await page.goBack();
  await page.waitForLoadState("networkidle");
  check(await page.locator("#wb-when").inputValue() === "record.Name != 'x'" && await page.locator(".wb-target").inputValue() === "Customer.Name" && await page.locator(".wb-expression").last().inputValue() === "record.Name", "workbench: going on and back keeps what was edited");
  await page.locator("#wb-route").selectOption("customers");
  check(page.url().includes("route=customers") && !page.url().includes("map="), "workbench: another route stands in the address");
  await page.goBack();
  await page.waitForFunction(() => document.getElementById("wb-route").value === "won-orders");
  check(await page.getByLabel("Expression of Currency").inputValue() === "'USD'", "workbench: going back leads to the route before, and to what was edited of it");
  await page.getByText("…or paste an envelope").click();
  await page.locator("#wb-envelope").fill("<secret>Jane</secret>");
  check(!decodeURIComponent(page.url()).includes("Jane"), "workbench: what is pasted stands in no address");
  await page.getByLabel("Expression of Currency").fill(`'${"x".repeat(4000)}'`);
  check(await page.getByText("too long for an address").isVisible() && page.url().length < 400, "workbench: what is too long for an address is said to be");
  await page.getByLabel("Expression of Currency").fill("'EUR'");
  check(await page.locator("#wb-address").isHidden(), "workbench: and only as long as it is");

  // ---- The guide keeps each step in its address ----
  await open("/start");
  check(/path=%2Fom%2F[\w-]{22}/.test(page.url()), "guide: a path that nobody guesses stands in the address");
  const secret = await page.locator("[name=path]").inputValue();
  await page.locator("#source summary").click();
  check(await page.locator("#made-source").getByText("your organization's id belongs here").isVisible() && await page.locator("#made-source").getByRole("button").count() === 0, "guide: what lacks the organization says so, and is not copied");
  await page.locator("[name=organization]").fill("00D24000000abcdEAA");
  await page.reload();
  check(await page.locator("[name=organization]").inputValue() === "00D24000000abcdEAA" && await page.locator("[name=path]").inputValue() === secret, "guide: a reload loses nothing");
  await page.locator("#source").getByRole("button", { name: "Keep this step" }).click();
  await page.waitForURL(/#destination$/);
  check((await page.locator("#snippet-source").textContent()).includes(secret), "guide: a step that is kept is written out");
  check(await page.locator("#made-source").getByRole("button", { name: "Copy this section" }).isVisible(), "guide: what is complete is copied");
  await page.locator("[name=kind]").selectOption("rest");
  check(await page.locator("[name=operation]").isHidden() && await page.locator("[name=url]").isVisible(), "guide: a REST endpoint needs an address and no operation");
  await page.locator("[name=url]").fill("http://crm.internal/x");
  await page.locator("#snippet-destination", { hasText: "http://crm.internal/x" }).waitFor();
  check(await page.locator("#made-destination").getByText("Complete.").isVisible(), "guide: what is typed is written out at once");
  await page.locator("#destination").getByRole("button", { name: "Keep this step" }).click();
  await page.waitForURL(/#route$/);
  await page.goBack();
  await page.goForward();
  check(await page.locator("[name=url]").inputValue() === "http://crm.internal/x", "guide: going back and forth loses nothing");
  await page.locator("[name=url]").fill("http://crm.internal/y");
  await page.waitForTimeout(3500);
  check(await page.locator("[name=url]").inputValue() === "http://crm.internal/y" && await page.locator("[name=url]").isVisible(), "guide: what follows what happens leaves alone what is typed");
  const taken = page.waitForEvent("download");
  await page.locator("#destination").getByRole("button", { name: "Download what there is so far" }).click();
  const file = readFileSync(await (await taken).path(), "utf8");
  check(file.includes(secret) && file.includes("http://crm.internal/y"), "guide: what there is so far is taken away as a file");
  await look("start-filled");

  // ---- A sample goes the whole way ----
  const before = (await api("/ledger")).notifications.received;
  await open("/start");
  await command(page.getByRole("button", { name: "Send a sample of order-won…" }), "does it work?");
  await until("a sample is taken", async () => (await api("/ledger")).notifications.received > before);

  // ---- Reload, the audit of all this ----
  await open("/configuration");
  await command(page.getByRole("button", { name: "Reload…" }), "nothing new", { counts: /Nothing changed/ });
  const text = readFileSync(configuration, "utf8");
  writeFileSync(configuration, text.replace("decimal(2)", "decimal(0)").replace("'Closed Won'", "'Closed Lost'"));
  await open("/configuration");
  check(await page.getByText(/The file on disk is not what is in force/).isVisible(), "a changed file is told of");
  check(await page.getByText(/It was changed .* and is not taken: version 1 stays in force/).isVisible(), "a changed file says when, and what is in force");
  await look("configuration-changed");
  await page.getByRole("link", { name: "What would change" }).click();
  await page.waitForLoadState("networkidle");
  for (const words of [/field CreateOrder.Total/, /Message by message/, /routed no more/]) check(await page.getByText(words).first().isVisible(), `what would change: shows ${words}`);
  await look("what-if");
  writeFileSync(configuration, text.replace("decimal(2)", "decimal(0)").replace(/\[\[route\]\]\nname = "invoices"[^[]*/, ""));
  await page.getByRole("button", { name: "Reload…" }).click();
  await page.getByText("removed: route invoices").waitFor();
  check(await page.getByText("says something else: route won-orders").isVisible(), "a reload says what it alters");
  await page.screenshot({ path: `${folder}/dialog-reload.png` });
  await page.evaluate(axe);
  const grave = (await page.evaluate(() => window.axe.run(document.getElementById("command")))).violations.filter((one) => ["serious", "critical"].includes(one.impact));
  check(grave.length === 0, `dialog: axe ${grave.map((one) => one.id).join(" ") || "has nothing serious"}`);
  if (await page.locator("#command-orphans").isVisible()) {
    await page.locator("#command-yes").click();
    check(await page.getByText(/Say what becomes of/).isVisible(), "a reload asks what becomes of what loses its way");
    await page.locator("#command-orphans").selectOption("discard");
    await page.locator("#command-yes").click();
    check(await page.getByText(/Say why .* discarded/).isVisible(), "to discard needs a reason");
    await page.locator("#command-orphans").selectOption("keep");
  } else {
    say(false, "a reload that leaves deliveries without a way asks what becomes of them");
  }
  await page.locator("#command-reason").fill("invoices are gone");
  await page.locator("#command-yes").click();
  await page.locator("#command").waitFor({ state: "hidden" });
  await page.waitForLoadState("networkidle");
  check((await api("/config")).version === 2, "what was looked at is in force");
  writeFileSync(configuration, text.replace("decimal(2)", "decimal("));
  await visit("what-if-wrong", "/configuration/what-if", [/the configuration is wrong/]);
  await open("/audit");
  check(await page.locator("main td dt").getByText("reason", { exact: true }).count() > 0 && !(await page.locator("main table").textContent()).includes("{\""), "the audit log shows what was before as names and values");
  await look("audit-filled");
  for (const verb of ["pause", "resume", "replay", "discard", "reload", "sample"]) {
    check(await page.getByRole("cell", { name: verb, exact: true }).count() > 0, `the audit log has ${verb}`);
  }

  // ---- What the page says is what the API says ----
  await open("/");
  const ledger = await api("/ledger");
  const figure = (text) => page.locator(".figures div", { hasText: text }).locator("b").textContent().then((shown) => Number(shown.replace(/\D/g, "")));
  check(await figure(/dead$/) === ledger.deliveries.dead, "the first page and the ledger agree on dead letters");
  check(await figure(/ in$/) === ledger.notifications.received, "the first page and the ledger agree on what came in");
  const dark = await browser.newContext({ colorScheme: "dark", viewport: { width: 1280, height: 900 } });
  const night = await dark.newPage();
  await night.goto(address);
  await night.screenshot({ path: `${folder}/overview-dark.png`, fullPage: true });
  const ground = await night.evaluate(() => getComputedStyle(document.body).backgroundColor);
  check(ground !== "rgb(255, 255, 255)", `at night the page is dark (${ground})`);
  await night.evaluate(axe);
  const found = await night.evaluate(() => window.axe.run(document, { runOnly: ["color-contrast"] }));
  check(found.violations.length === 0, "at night everything can be read");
} catch (error) {
  say(false, `${page.url()}: ${error.message.split("\n").slice(0, 4).join(" | ")}`);
  await page.screenshot({ path: `${folder}/failure.png`, fullPage: true }).catch(() => {});
}
await browser.close();
console.log(failures === 0 ? "all is well" : `${failures} failed`);
process.exit(failures === 0 ? 0 : 1);
