// The service worker: the browser starts it when a push message comes, also when no page is open.

addEventListener("push", (event) => {
  const { id, title, body } = event.data.json();
  // The same message again replaces the first one.
  event.waitUntil(registration.showNotification(title, { body, tag: id, icon: "bennu.svg" }));
});

addEventListener("notificationclick", (event) => {
  event.notification.close();
  event.waitUntil(openPage());
});

/** Shows a window of the page that is open, or opens one. */
async function openPage() {
  const windows = await clients.matchAll({ type: "window", includeUncontrolled: true });
  const page = windows.find(({ url }) => url.startsWith(registration.scope));
  return page ? page.focus() : clients.openWindow(registration.scope);
}
