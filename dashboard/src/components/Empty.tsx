/** Before the first target: what to write, ready to be copied. */

import { createSignal, type JSX } from "solid-js";
import type { Health } from "../model";
import { Title } from "./small";

const EXAMPLE = `targets:
  - name: home
    url: https://example.org/
    interval: 30s
  - name: shop
    url: https://example.com/health
    labels: {team: shop}
`;

export function NoTargets(props: { health: Health }): JSX.Element {
  const [said, say] = createSignal("Copy");
  const copy = (): void => {
    navigator.clipboard.writeText(EXAMPLE).then(
      () => say("Copied"),
      () => say("Select the text and copy it"),
    );
  };
  return (
    <>
      <Title>Nothing is watched yet</Title>
      <section class="card empty">
        <p>
          Write a file of targets, say <code>targets.yaml</code>, and start lookout with{" "}
          <code>LOOKOUT_CONFIG=targets.yaml</code>:
        </p>
        <pre tabindex="0">{EXAMPLE}</pre>
        <button type="button" onClick={copy}>
          {said()}
        </button>
        <p>
          Or name some URLs: <code>URLS='https://example.org/ https://example.com/health'</code>. They appear here as soon
          as a worker has read them; {props.health.workers_running === 0 ? "no worker runs now." : "one is running."}
        </p>
      </section>
    </>
  );
}
