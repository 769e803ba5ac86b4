// Show the API's OpenAPI document, whose requests can be tried out: their fields, If-Match among them, are typed in.
const place = document.querySelector("#openapi");
SwaggerUIBundle({ url: place.dataset.url, domNode: place, deepLinking: true, validatorUrl: null });
