// In the head and not deferred, so that a dark page never flashes light. Without a choice the system's counts.
const chosen = localStorage.getItem("theme");
if (chosen) document.documentElement.dataset.theme = chosen;
