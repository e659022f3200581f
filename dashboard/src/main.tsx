/** The frame around every page: navigation, the line that says how current it is, and keys. */

import { createEffect, For, Match, Show, Switch, type JSX } from "solid-js";
import { render } from "solid-js/web";
import { needsToken } from "./api";
import { AskForToken } from "./components/AskForToken";
import { Title } from "./components/small";
import { Changes } from "./pages/Changes";
import { Incident } from "./pages/Incident";
import { Incidents } from "./pages/Incidents";
import { Overview } from "./pages/Overview";
import { System } from "./pages/System";
import { Target } from "./pages/Target";
import { Targets } from "./pages/Targets";
import { follow, go, path, query } from "./router";
import { applyTheme, banner, hasKeys, isPaused, overview, setKeys, setPaused, setTheme, start, target, theme, watch, type Theme } from "./state";
import { tableQuery } from "./table";
import "./styles/index.css";

const PAGES = [
  ["/", "Overview"],
  ["/targets", "Targets"],
  ["/incidents", "Incidents"],
  ["/changes", "Changes"],
  ["/system", "System"],
] as const;

const KEYS = [
  ["/", "search targets"],
  ["g o", "overview"],
  ["g t", "targets"],
  ["g i", "incidents"],
  ["g c", "changes"],
  ["g s", "system"],
  ["p", "pause or go on"],
  ["?", "this help"],
] as const;

const parts = (): string[] => path().split("/").slice(1);
const decoded = (part: string): string => {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
};

function App(): JSX.Element {
  let help: HTMLDialogElement | undefined;
  createEffect(() => {
    const [first, second] = parts();
    if (first !== "targets") watch({ subscribe: "overview" });
    else if (second) watch({ subscribe: "target", key: decoded(second) });
    else watch({ subscribe: "table", ...tableQuery(query) });
  });
  createEffect(() => {
    const open = overview.now?.open_incidents ?? 0;
    const [first, second] = parts();
    const named = first === "targets" && second ? (target.now?.name ?? decoded(second)) : undefined;
    const page = named ?? PAGES.find(([at]) => at === `/${first ?? ""}`)?.[1] ?? "lookout";
    document.title = `${open > 0 ? `(${open}) ` : ""}${page} · lookout`;
  });
  const search = (): void => {
    if (path() !== "/targets") go("/targets");
    requestAnimationFrame(() => requestAnimationFrame(() => document.getElementById("search")?.focus()));
  };
  let before = "";
  addEventListener("keydown", (event) => {
    const at = event.target as HTMLElement;
    if (!hasKeys() || help?.open) return;
    if (event.ctrlKey || event.metaKey || event.altKey || at.matches("input, select, textarea")) return;
    const pressed = before === "g" ? `g ${event.key}` : event.key;
    before = event.key;
    const page = { "g o": "/", "g t": "/targets", "g i": "/incidents", "g c": "/changes", "g s": "/system" }[pressed];
    if (page !== undefined) go(page);
    else if (pressed === "/") search();
    else if (pressed === "?") help?.showModal();
    else if (pressed === "p") setPaused(!isPaused());
    else return;
    event.preventDefault();
  });
  return (
    <>
      <a class="skip" href="#main" data-out>
        Skip to the content
      </a>
      <header>
        <a class="name" href="/">
          lookout
        </a>
        <nav aria-label="Pages">
          <For each={PAGES}>
            {([at, name]) => (
              <a href={at} aria-current={path() === at ? "page" : `/${parts()[0]}` === at ? "true" : undefined}>
                {name}
              </a>
            )}
          </For>
        </nav>
        <div class="line">
          <p id="line" role="status" class={`banner ${banner().kind}`}>
            {banner().text}
          </p>
          <button type="button" aria-pressed={isPaused()} onClick={() => setPaused(!isPaused())}>
            {isPaused() ? "Go on" : "Pause"}
          </button>
          <label class="theme">
            <span class="hidden">Theme</span>
            <select value={theme()} onChange={(event) => setTheme(event.currentTarget.value as Theme)}>
              <option value="auto">auto</option>
              <option value="light">light</option>
              <option value="dark">dark</option>
            </select>
          </label>
          <button type="button" aria-label="Keys" onClick={() => help?.showModal()}>
            ?
          </button>
        </div>
      </header>
      <main id="main" tabindex="-1">
        <Show when={!needsToken()} fallback={<AskForToken />}>
          <Page />
        </Show>
      </main>
      <dialog ref={help} aria-labelledby="keys">
        <h2 id="keys">Keys</h2>
        <dl class="keys">
          <For each={KEYS}>
            {([key, what]) => (
              <div>
                <dt>
                  <kbd>{key}</kbd>
                </dt>
                <dd>{what}</dd>
              </div>
            )}
          </For>
        </dl>
        <p>
          <label>
            <input type="checkbox" checked={hasKeys()} onChange={(event) => setKeys(event.currentTarget.checked)} /> These keys work
          </label>
        </p>
        <p>
          <a href="/api/docs/" data-out>
            The API
          </a>{" "}
          has all of this for programs.
        </p>
        <button type="button" onClick={() => help?.close()}>
          Close
        </button>
      </dialog>
    </>
  );
}

const Page = (): JSX.Element => (
  <Switch
    fallback={
      <>
        <Title>There is no such page</Title>
        <p>
          <a href="/">Overview</a>
        </p>
      </>
    }
  >
    <Match when={path() === "/"}>
      <Overview />
    </Match>
    <Match when={parts()[0] === "targets" && parts().length === 2 && parts()[1]}>
      {(key) => <Target key={decoded(key())} />}
    </Match>
    <Match when={path() === "/targets"}>
      <Targets />
    </Match>
    <Match when={parts()[0] === "incidents" && parts().length === 2 && parts()[1]}>{(id) => <Incident id={id()} />}</Match>
    <Match when={path() === "/incidents"}>
      <Incidents />
    </Match>
    <Match when={path() === "/changes"}>
      <Changes />
    </Match>
    <Match when={path() === "/system"}>
      <System />
    </Match>
  </Switch>
);

applyTheme();
document.addEventListener("click", follow);
start();
render(() => <App />, document.getElementById("app") as HTMLElement);
