// Starts GraphiQL on the page and carries its requests: JSON for queries and mutations, an event stream for
// subscriptions. The header editor's headers go with both, so one token serves everything.
//
// The URL's fragment can prefill it: `#token=…` puts an Authorization header into the editor, `#query=…` a document.
// A fragment never reaches a server or its log, and it is taken out of the address bar at once.

(() => {
  'use strict';

  // GraphiQL's scroll lock makes style elements; this global is where it looks for the page's nonce.
  window.__webpack_nonce__ = document.currentScript.nonce;

  const root = document.getElementById('graphiql');
  const endpoint = root.dataset.endpoint;

  const fragment = new URLSearchParams(window.location.hash.slice(1));
  if (window.location.hash) {
    window.history.replaceState(null, '', window.location.pathname + window.location.search);
  }
  const token = fragment.get('token');
  const headers = token ? JSON.stringify({ Authorization: `Bearer ${token}` }, null, 2) : undefined;

  function isSubscription(params, documentAST) {
    const operations = (documentAST?.definitions ?? []).filter((each) => each.kind === 'OperationDefinition');
    const chosen = params.operationName
      ? operations.find((each) => each.name?.value === params.operationName)
      : operations[0];
    return chosen?.operation === 'subscription';
  }

  function post(params, accept, options, signal) {
    return fetch(endpoint, {
      method: 'POST',
      credentials: 'same-origin',
      headers: { ...options?.headers, accept, 'content-type': 'application/json' },
      body: JSON.stringify(params),
      signal,
    });
  }

  async function run(params, options) {
    const response = await post(params, 'application/graphql-response+json, application/json;q=0.9', options);
    return response.json();
  }

  async function* subscribe(params, options) {
    const controller = new AbortController();
    try {
      const response = await post(params, 'text/event-stream', options, controller.signal);
      if (!response.headers.get('content-type')?.startsWith('text/event-stream')) {
        yield await response.json();
        return;
      }
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let text = '';
      for (;;) {
        const { done, value } = await reader.read();
        if (done) throw new Error('The connection ended before the subscription did');
        text += value;
        const events = text.split('\n\n');
        text = events.pop();
        for (const event of events) {
          const lines = event.split('\n');
          if (lines.includes('event: complete')) return;
          const data = lines.find((line) => line.startsWith('data: '));
          if (lines.includes('event: next') && data) yield JSON.parse(data.slice('data: '.length));
        }
      }
    } finally {
      controller.abort();
    }
  }

  const fetcher = (params, options) =>
    isSubscription(params, options?.documentAST) ? subscribe(params, options) : run(params, options);

  const properties = { fetcher, headers, shouldPersistHeaders: false, defaultEditorToolsVisibility: 'headers' };
  if (fragment.has('query')) properties.query = fragment.get('query');
  ReactDOM.createRoot(root).render(React.createElement(GraphiQL, properties));
})();
