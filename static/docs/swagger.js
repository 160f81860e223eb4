// Starts Swagger UI and lets it work with the cookie session: changes carry the session's CSRF token.
(function () {
  "use strict";

  const place = document.getElementById("documentation");
  const unsafe = new Set(["POST", "PUT", "PATCH", "DELETE"]);

  async function csrfToken() {
    const answer = await fetch(place.dataset.api + "/auth/csrf", { credentials: "same-origin" });
    return answer.ok ? (await answer.json()).csrf_token : null;
  }

  // The document names the server by its public address. This page is on it, whichever name it was opened by, and so is the
  // cookie.
  function toThisServer(request) {
    const { pathname, search } = new URL(request.url, location.href);
    request.url = location.origin + pathname + search;
  }

  async function asThisPage(request) {
    const changes = unsafe.has((request.method || "GET").toUpperCase());
    if (!request.loadSpec) {
      toThisServer(request);
    }
    const bearer = request.headers && (request.headers.Authorization || request.headers.authorization);
    if (changes && !bearer && !request.loadSpec) {
      const token = await csrfToken();
      if (token) {
        request.headers["X-CSRF-Token"] = token;
      }
    }
    return request;
  }

  const ui = window.SwaggerUIBundle({
    url: place.dataset.document,
    domNode: place,
    deepLinking: true,
    displayOperationId: true,
    displayRequestDuration: true,
    docExpansion: "list",
    filter: true,
    persistAuthorization: false,
    // Who is signed in at the pages is authorized here, too: the browser sends the cookie by itself.
    onComplete: async () => {
      if (await csrfToken()) {
        ui.preauthorizeApiKey("cookie", "session");
      }
    },
    requestInterceptor: asThisPage,
    // No badge from another server.
    validatorUrl: null,
  });
})();
