// Reads an image that is dropped, pasted or chosen, and hands it over as text.
const chooser = document.createElement("input");
chooser.type = "file";
chooser.accept = "image/jpeg,image/png,image/webp,image/gif";
chooser.setAttribute("aria-label", "choose an image");

const give = (value) => { props.value = value; trigger("input"); };
const read = (file) => {
  if (!file) return;
  if (file.size > LIMIT) { give("too large"); return; }
  const reader = new FileReader();
  reader.onload = () => give(reader.result);
  reader.readAsDataURL(file);
};
const well = () => element.querySelector(".well");
const first = (list) => [...(list || [])].find((file) => file.type.startsWith("image/")) || (list || [])[0];

chooser.addEventListener("change", () => { read(chooser.files[0]); chooser.value = ""; });
element.addEventListener("click", (event) => {
  if (event.target.closest(".remove")) give(""); else if (event.target.closest(".well")) chooser.click();
});
element.addEventListener("dragover", (event) => { event.preventDefault(); well().classList.add("over"); });
element.addEventListener("dragleave", () => well().classList.remove("over"));
element.addEventListener("drop", (event) => {
  event.preventDefault();
  well().classList.remove("over");
  read(first(event.dataTransfer.files));
});
// A picture that misses the well must not replace the page.
for (const kind of ["dragover", "drop"]) window.addEventListener(kind, (event) => event.preventDefault());
document.addEventListener("paste", (event) => {
  const file = first(event.clipboardData.files);
  if (file) { event.preventDefault(); read(file); }
});
