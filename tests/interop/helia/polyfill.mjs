// What Node 20 lacks of what libp2p 3.3 and Helia 7 use; Node 22 has both.
Promise.withResolvers ??= function () {
  let resolve, reject
  const promise = new this((done, failed) => { resolve = done; reject = failed })
  return { promise, resolve, reject }
}
const contains = other => typeof other.has === 'function' ? x => other.has(x) : x => new Set(other).has(x)
Set.prototype.difference ??= function (other) {
  const inOther = contains(other)
  return new Set([...this].filter(x => !inOther(x)))
}
Set.prototype.intersection ??= function (other) {
  return new Set([...this].filter(contains(other)))
}
Set.prototype.union ??= function (other) {
  return new Set([...this, ...other.keys()])
}
