/** How lookout itself does, in six figures. */

import { Show, type JSX } from "solid-js";
import { milliseconds } from "../format";
import type { Glance } from "../model";
import { Figure } from "./small";

export const Health = (props: { data: Glance }): JSX.Element => (
  <section class="card health" aria-labelledby="health">
    <h2 id="health">
      <a href="/system">lookout itself</a>
    </h2>
    <dl class="figures">
      <Figure name="workers" value={props.data.health.workers_running} warn={props.data.health.workers_running === 0} />
      <Figure
        name="worst lag"
        value={milliseconds(props.data.health.worst_lag_ms)}
        warn={(props.data.health.worst_lag_ms ?? 0) > 1000}
        hint="The largest lateness of a start"
      />
      <Figure name="missed" value={props.data.health.missed} warn={props.data.health.missed > 0} />
      <Figure name="unknown" value={props.data.health.unknown} warn={props.data.health.unknown > 0} />
      <Figure name="waiting to be stored" value={props.data.health.queue_depth + props.data.health.spool_depth} />
      <Figure
        name="batches behind"
        value={Math.max(0, ...props.data.health.readers.map((reader) => reader.batches_behind))}
        hint="What was stored and not read yet by who follows it; roll-ups read it once a minute"
      />
    </dl>
    <Show when={props.data.health.workers_running === 0}>
      <p class="note error">No worker runs: nothing is checked now.</p>
    </Show>
  </section>
);
