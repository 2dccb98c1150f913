// Logs in and out at the admin listener in a real browser: `node login.mjs ADDRESS CHROMIUM NAME PASSWORD`.
//
// It says one line for each thing that it tried, `ok …` or `FAILED …`.
import { createRequire } from "node:module";

const [address, chromium, name, password] = process.argv.slice(2);
const { chromium: engine } = createRequire(`${process.cwd()}/`)("playwright-core");
let failures = 0;
const check = (ok, text) => { console.log(`${ok ? "ok    " : "FAILED"} ${text}`); if (!ok) failures += 1; };

const browser = await engine.launch({ executablePath: chromium, args: ["--no-sandbox", "--disable-gpu"] });
const page = await (await browser.newContext()).newPage();
page.setDefaultTimeout(15000);
const enter = async (word) => {
  await page.locator("input[name=name]").fill(name);
  await page.locator("input[name=password]").fill(word);
  await page.locator("input[name=password]").press("Enter");
  await page.waitForLoadState("networkidle");
};
try {
  await page.goto(`${address}/deliveries`);
  check(new URL(page.url()).pathname === "/login", "whoever is nobody is led to the login");
  await enter(`not ${password}`);
  check(await page.getByText("Name or password is wrong").isVisible(), "a wrong password is said to be one");
  await enter(password);
  check(await page.getByText(`Logged in as ${name}`).isVisible(), "the right one lets in");
  await page.goto(`${address}/destinations/erp`);
  await page.getByRole("button", { name: "Pause…" }).click();
  await page.locator("#command-reason").fill("the ERP is updated");
  await page.locator("#command-yes").click();
  await page.locator("#command").waitFor({ state: "hidden" });
  await page.getByRole("button", { name: "Resume…" }).waitFor();
  check(true, "what a session may do is done");
  await page.getByRole("button", { name: "Log out" }).click();
  await page.waitForLoadState("networkidle");
  await page.goto(`${address}/deliveries`);
  check(new URL(page.url()).pathname === "/login", "whoever logged out is nobody again");
} catch (error) {
  check(false, `${page.url()}: ${error.message.split("\n").slice(0, 4).join(" | ")}`);
}
await browser.close();
process.exit(failures === 0 ? 0 : 1);
