/** Where reading needs a token. */

import { createSignal, Show, type JSX } from "solid-js";
import { setToken, token } from "../api";
import { Title } from "./small";

export function AskForToken(): JSX.Element {
  const [given, setGiven] = createSignal("");
  return (
    <>
      <Title>A token is needed to read</Title>
      <form
        class="card empty"
        onSubmit={(event) => {
          event.preventDefault();
          setToken(given());
        }}
      >
        <p>
          This lookout shows its data to those who have its token, the variable <code>API_TOKEN</code>. It is kept until this tab
          is closed.
        </p>
        <Show when={token() !== null}>
          <p class="note error" role="alert">
            That token was not accepted.
          </p>
        </Show>
        <label>
          Token{" "}
          <input
            type="password"
            autocomplete="current-password"
            required
            value={given()}
            onInput={(event) => setGiven(event.currentTarget.value)}
          />
        </label>{" "}
        <button type="submit">Read</button>
      </form>
    </>
  );
}
