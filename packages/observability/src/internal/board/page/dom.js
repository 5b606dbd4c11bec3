/** Draws by comparison: what has not changed is not touched, so that the focus, the selection and the scroll position stay. */

/** An element. What comes from data is in `children` and in attributes, never in HTML. `hold`: its children are somebody else's. */
export const h = (tag, { key, on, style, hold, ...attributes } = {}, ...children) => ({
  tag,
  key,
  on: on ?? {},
  style: style ?? {},
  hold: hold === true,
  attributes,
  children: children.flat(3).filter((child) => child !== undefined && child !== null && child !== false)
})

const known = new WeakMap()

const create = (wanted) => {
  if (typeof wanted !== "object") return document.createTextNode(String(wanted))
  const element = document.createElement(wanted.tag)
  known.set(element, { tag: wanted.tag, key: wanted.key, on: {}, attributes: {} })
  return element
}

const setAttributes = (element, attributes) => {
  const own = known.get(element)
  // Others stay: a person has opened a detail, a curve has marked its place.
  for (const name of Object.keys(own.attributes)) if (!isSet(attributes[name])) element.removeAttribute(name)
  own.attributes = attributes
  for (const [name, value] of Object.entries(attributes)) {
    const text = value === true ? "" : String(value)
    if (isSet(value) && element.getAttribute(name) !== text) element.setAttribute(name, text)
  }
}

const isSet = (value) => value !== undefined && value !== null && value !== false

const setStyle = (element, style) => {
  for (const [name, value] of Object.entries(style)) {
    if (element.style.getPropertyValue(name) !== String(value)) element.style.setProperty(name, String(value))
  }
}

/** One listener for each kind of event, which calls the function of the last drawing. */
const setListeners = (element, on) => {
  const { on: present } = known.get(element)
  for (const [kind, listener] of Object.entries(on)) {
    if (present[kind] === undefined) element.addEventListener(kind, (event) => present[kind]?.(event))
    present[kind] = listener
  }
}

const isThe = (node, wanted) => {
  if (node === null) return false
  if (typeof wanted !== "object") return node.nodeType === Node.TEXT_NODE
  const { key, tag } = known.get(node) ?? {}
  return tag === wanted.tag && key === wanted.key
}

const update = (node, wanted) => {
  if (typeof wanted !== "object") {
    if (node.data !== String(wanted)) node.data = String(wanted)
    return
  }
  setAttributes(node, wanted.attributes)
  setStyle(node, wanted.style)
  setListeners(node, wanted.on)
  if (!wanted.hold) fill(node, wanted.children)
  // What a person has chosen is in the property, which does not follow the attribute.
  if (wanted.tag === "select" && node.value !== wanted.attributes.value) node.value = wanted.attributes.value
}

const fill = (parent, children) => {
  const byKey = new Map()
  for (const node of parent.childNodes) {
    const key = known.get(node)?.key
    if (key !== undefined) byKey.set(key, node)
  }
  let at = parent.firstChild
  for (const wanted of children) {
    const kept = wanted.key === undefined ? at : byKey.get(wanted.key)
    const node = kept !== undefined && isThe(kept, wanted) ? kept : create(wanted)
    if (node === at) at = at.nextSibling
    else parent.insertBefore(node, at)
    update(node, wanted)
  }
  while (at !== null) {
    const gone = at
    at = at.nextSibling
    gone.remove()
  }
}

/** Makes the children of `parent` these. */
export const draw = (parent, ...children) => {
  const focused = document.activeElement
  fill(parent, children.flat(3).filter(isSet))
  // An element that has moved loses the focus.
  if (focused !== document.activeElement && focused?.isConnected) focused.focus({ preventScroll: true })
}

/** A table whose cells say in which column they are, for screens on which each row is a block. */
export const table = ({ caption, columns, rows, empty }) =>
  rows.length === 0
    ? h("p", { class: "empty" }, empty)
    : h(
        "table",
        { role: "table" },
        h("caption", { class: "unseen" }, caption),
        h(
          "thead",
          { role: "rowgroup" },
          h(
            "tr",
            { role: "row" },
            columns.map(({ name, kind }) => h("th", { role: "columnheader", scope: "col", class: kind }, name))
          )
        ),
        h(
          "tbody",
          { role: "rowgroup" },
          rows.map(({ key, cells, kind }) =>
            h(
              "tr",
              { role: "row", key, class: kind },
              cells.map((cell, i) =>
                i === 0
                  ? h("th", { role: "rowheader", scope: "row", class: columns[i].kind }, cell)
                  : h("td", { role: "cell", class: columns[i].kind, "data-name": columns[i].name }, cell)
              )
            )
          )
        )
      )
