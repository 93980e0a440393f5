// The playground: a stream per column, all at once, until they end or are stopped.
"use strict";
{
  const form = document.querySelector("form[data-playground]");
  const stop = document.querySelector("[data-stop]");
  let running = null; // an AbortController while texts are written

  const send = (path, fields, signal) =>
    fetch(`${form.dataset.playground}/${path}`, {
      method: "POST",
      body: fields,
      signal,
      headers: { "X-CSRF-Token": document.querySelector("meta[name=csrf]").content, "HX-Request": "true" },
    });

  // The data of server-sent events, one by one.
  async function* events(body) {
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const parts = (rest + value).split("\n\n");
      rest = parts.pop();
      for (const part of parts) if (part.startsWith("data: ")) yield part.slice(6);
    }
  }

  const write = async (answer, text) => {
    let reason = "stop";
    for await (const data of events(answer.body)) {
      if (data === "[DONE]") return reason;
      const said = JSON.parse(data);
      if (said.error) throw new Error(said.error.message);
      for (const choice of said.choices) {
        text.textContent += choice.text;
        reason = choice.finish_reason ?? reason;
      }
    }
    throw new Error("The connection ended before the text did.");
  };

  const judge = async (column, fields, reason) => {
    const said = column.querySelector("[data-said]");
    fields.set("completion", column.querySelector("pre").textContent);
    fields.set("finish_reason", reason);
    const answer = await send("verdict", fields);
    said.innerHTML = await answer.text(); // a fragment of this server's, escaped there
  };

  const ask = async (column, signal) => {
    const model = column.querySelector("select").value;
    const text = column.querySelector("pre");
    const said = column.querySelector("[data-said]");
    text.textContent = said.textContent = "";
    if (!model) return;
    const fields = new FormData(form);
    fields.set("model", model);
    try {
      said.textContent = "writing";
      const answer = await send("write", fields, signal);
      if (!answer.ok) {
        said.innerHTML = await answer.text();
        return;
      }
      const reason = await write(answer, text);
      said.textContent = reason === "length" ? "cut at the token limit" : "";
      if (fields.get("answer")) await judge(column, fields, reason);
    } catch (problem) {
      said.textContent = signal.aborted ? "stopped" : problem.message;
    }
  };

  form?.addEventListener("submit", async (event) => {
    event.preventDefault();
    running?.abort();
    const mine = (running = new AbortController());
    stop.disabled = false;
    await Promise.all([...document.querySelectorAll("[data-column]")].map((column) => ask(column, mine.signal)));
    if (running === mine) stop.disabled = true;
  });
  stop?.addEventListener("click", () => running?.abort());
}
