#!/usr/bin/env node
// A Helia (js-libp2p) peer that the interop tests drive, with its blocks in
// memory: TCP, Noise, yamux, identify, ping and Bitswap. It listens on loopback.
//
//   node peer.mjs lan|wan       also a server of that DHT
//   node peer.mjs autonat IP    also AutoNAT v1; it listens at that address
//
// Prints {"event":"ready","peer_id":..,"addrs":[..]} when it is up, then
// answers each line of stdin with one JSON line, {"cmd":..,"ok":true,..} or
// {"cmd":..,"ok":false,"error":..}. Arguments are separated by tabs, since a
// path may contain spaces:
//
//   connect MADDR             dial a peer
//   disconnect PEER           close the connections to it
//   identify PEER             what PEER tells of itself
//   ping PEER|MADDR           milliseconds
//   add PATH LAYOUT           a file, laid out as these options of the importer say, in JSON:
//                             {"cidVersion":..,"rawLeaves":..,"chunkSize":..,"maxChildrenPerNode":..,
//                             "shardSplitThresholdBytes":..,"shardSplitStrategy":..}
//   adddir PATH LAYOUT        a folder
//   cids PATH LAYOUT          of each entry of a folder, what adding it would give: CID and UnixFS type,
//                             by name; nothing is kept
//   get CID[/PATH] DEST       a file
//   getdir CID DEST           a folder, to a new DEST
//   put dag-cbor|dag-json DATA  a node, from its DAG-JSON
//   node CID                  a node of dag-cbor or dag-json, in DAG-JSON
//   block CID DEST            the bytes of one block
//   carexport CID DEST        a DAG, to a CAR file
//   carimport PATH            what a CAR file holds
//   provide CID               tell the DHT
//   findprovs CID PEER        who has it, by the DHT, up to PEER
//   findpeer PEER             where the DHT says it is
//   dhtpeers COUNT            who is in the routing table, once there are so many
//   verified                  its addresses that AutoNAT says others reach, once there is one
//   quit
import './polyfill.mjs' // before everything that needs it
import fs from 'node:fs'
import path from 'node:path'
import readline from 'node:readline'
import { setTimeout } from 'node:timers/promises'
import { createHeliaLight } from 'helia'
import { withLibp2pLight } from '@helia/libp2p'
import { withBitswap } from '@helia/bitswap'
import { unixfs, globSource } from '@helia/unixfs'
import { car } from '@helia/car'
import { dagCbor } from '@helia/dag-cbor'
import { dagJson } from '@helia/dag-json'
import { CarReader } from '@ipld/car'
import * as cbor from '@ipld/dag-cbor'
import * as json from '@ipld/dag-json'
import { BlackHoleBlockstore, MemoryBlockstore } from 'blockstore-core'
import { MemoryDatastore } from 'datastore-core'
import { autoNAT } from '@libp2p/autonat'
import { tcp } from '@libp2p/tcp'
import { noise } from '@libp2p/noise'
import { yamux } from '@libp2p/yamux'
import { identify, identifyPush } from '@libp2p/identify'
import { ping } from '@libp2p/ping'
import { kadDHT, passthroughMapper } from '@libp2p/kad-dht'
import { generateKeyPair } from '@libp2p/crypto/keys'
import { peerIdFromCID, peerIdFromString } from '@libp2p/peer-id'
import { multiaddr } from '@multiformats/multiaddr'
import { CID } from 'multiformats/cid'
import { fixedSize } from 'ipfs-unixfs-importer/chunker'
import { balanced } from 'ipfs-unixfs-importer/layout'

const COMMAND_SECONDS = 120

const answer = line => fs.writeSync(1, JSON.stringify(line, (_, v) => typeof v === 'bigint' ? Number(v) : v) + '\n')
console.log = console.info = console.error // stdout carries answers and nothing else
const deadline = () => AbortSignal.timeout(COMMAND_SECONDS * 1000)

const [role, ip = '127.0.0.1'] = process.argv.slice(2)
const protocols = { lan: '/ipfs/lan/kad/1.0.0', wan: '/ipfs/kad/1.0.0' }
const services = { identify: identify(), identifyPush: identifyPush(), ping: ping() }
if (role === 'autonat') {
  services.autonat = autoNAT()
} else if (role != null) {
  services.dht = kadDHT({
    protocol: protocols[role],
    clientMode: false,
    peerInfoMapper: passthroughMapper, // the default keeps loopback addresses out
    allowQueryWithZeroPeers: true, // or a query waits for the first peer
    initialQuerySelfInterval: 500
  })
}

const helia = await withBitswap(withLibp2pLight(createHeliaLight({
  blockstore: new MemoryBlockstore(),
  datastore: new MemoryDatastore(),
  codecs: [cbor, json] // without them it follows links of dag-pb only
}), {
  privateKey: await generateKeyPair('Ed25519'),
  addresses: { listen: [`/ip4/${ip}/tcp/0`] },
  transports: [tcp()],
  connectionEncrypters: [noise()],
  streamMuxers: [yamux()],
  peerDiscovery: [],
  connectionGater: { denyDialMultiaddr: () => false }, // the default refuses loopback
  services
})).start()
const libp2p = helia.libp2p
await libp2p.services.dht?.setMode('server')
const files = unixfs(helia)
const cars = car(helia)
const codecs = { 'dag-cbor': dagCbor(helia), 'dag-json': dagJson(helia) }

// Written out, since the named profiles of @helia/unixfs give way to its own defaults.
const layout = text => {
  const { chunkSize, maxChildrenPerNode, ...options } = JSON.parse(text)
  return { ...options, chunker: fixedSize({ chunkSize }), layout: balanced({ maxChildrenPerNode }) }
}

// What is in a folder, for `addAll`; globSource follows symlinks.
function * entries (folder, inside = '') {
  for (const entry of fs.readdirSync(folder, { withFileTypes: true })) {
    const [real, name] = [path.join(folder, entry.name), inside + entry.name]
    if (entry.isDirectory()) {
      yield { path: name }
      yield * entries(real, `${name}/`)
    } else if (entry.isSymbolicLink()) {
      yield { path: name, link: fs.readlinkSync(real) }
    } else if (fs.statSync(real).size <= 1 << 20) {
      yield { path: name, content: fs.readFileSync(real) } // much quicker than a stream
    } else {
      yield { path: name, content: fs.createReadStream(real, { highWaterMark: 1 << 20 }) }
    }
  }
}

async function writeFile (chunks, dest) {
  const file = fs.openSync(dest, 'wx')
  let bytes = 0
  try {
    for await (const chunk of chunks) {
      fs.writeSync(file, chunk)
      bytes += chunk.length
    }
  } finally {
    fs.closeSync(file)
  }
  return bytes
}

async function writeFolder (cid, dest) {
  fs.mkdirSync(dest)
  let count = 0
  for await (const entry of files.ls(cid, { signal: deadline() })) {
    const target = path.join(dest, entry.name)
    // An entry of a listing says its name and CID, not what it is.
    const { type } = await files.stat(entry.cid, { signal: deadline() })
    if (type === 'directory') {
      count += await writeFolder(entry.cid, target)
    } else {
      await writeFile(files.cat(entry.cid, { signal: deadline() }), target)
      count += 1
    }
  }
  return count
}

const commands = {
  async connect (address) {
    const connection = await libp2p.dial(multiaddr(address), { signal: deadline() })
    return { peer: connection.remotePeer, encryption: connection.encryption, muxer: connection.multiplexer }
  },
  async disconnect (peer) {
    await libp2p.hangUp(peerIdFromString(peer))
  },
  async identify (peer) {
    const [connection] = libp2p.getConnections(peerIdFromString(peer))
    if (connection == null) throw new Error(`no connection to ${peer}`)
    const told = await libp2p.services.identify.identify(connection, { signal: deadline() })
    return {
      peer: told.peerId,
      agent: told.agentVersion,
      protocol_version: told.protocolVersion,
      observed: told.observedAddr?.toString(),
      listen: told.listenAddrs.map(String),
      signed_record: told.signedPeerRecord != null,
      protocols: [...told.protocols].sort()
    }
  },
  async ping (who) {
    const target = who.startsWith('/') ? multiaddr(who) : peerIdFromString(who)
    return { ms: await libp2p.services.ping.ping(target, { signal: deadline() }) }
  },
  async provide (cid) {
    await helia.routing.provide(CID.parse(cid), { signal: deadline() })
  },
  async findprovs (cid, last) {
    const peers = []
    for await (const provider of helia.routing.findProviders(CID.parse(cid), { signal: AbortSignal.timeout(20_000) })) {
      // The router names it by a CID, the rest of the world by its peer id.
      peers.push(String(CID.asCID(provider.id) == null ? provider.id : peerIdFromCID(provider.id)))
      if (peers.at(-1) === last) break
    }
    return { peers }
  },
  async findpeer (peer) {
    const found = await libp2p.peerRouting.findPeer(peerIdFromString(peer), { signal: deadline(), useCache: false })
    return { addrs: found.multiaddrs.map(String) }
  },
  async verified () {
    const limit = deadline()
    const addrs = () => libp2p.components.addressManager.getAddressesWithMetadata().filter(addr => addr.verified)
    while (addrs().length === 0) {
      limit.throwIfAborted()
      await setTimeout(50) // there is no event for it
    }
    return { addrs: addrs().map(addr => addr.multiaddr.toString()) }
  },
  async dhtpeers (count) {
    const table = libp2p.services.dht.routingTable
    const limit = deadline()
    const known = () => [...table.kb.toIterable()].map(peer => peer.peerId.toString())
    await new Promise((resolve, reject) => {
      const look = () => { if (known().length >= Number(count)) resolve() }
      table.addEventListener('peer:add', look)
      limit.addEventListener('abort', () => reject(new Error(`${known().length} peers in the table`)))
      look()
    })
    return { peers: known() }
  },
  async add (file, options) {
    const cid = await files.addByteStream(fs.createReadStream(file, { highWaterMark: 1 << 20 }), layout(options))
    return { cid: cid.toString() }
  },
  async adddir (folder, options) {
    let last
    const found = globSource(path.dirname(folder), path.basename(folder) + '/**/*', { hidden: true })
    for await (const entry of files.addAll(found, layout(options))) last = entry
    return { cid: last.cid.toString() }
  },
  async cids (folder, options) {
    const found = {}
    const nowhere = unixfs({ blockstore: new BlackHoleBlockstore() })
    for await (const entry of nowhere.addAll(entries(folder), layout(options))) {
      if (entry.path.includes('/')) continue
      found[entry.path] = { cid: entry.cid.toString(), type: entry.unixfs?.type ?? 'raw' }
    }
    return { found }
  },
  async get (link, dest) {
    const [root, ...rest] = link.split('/')
    const inside = rest.length > 0 ? rest.join('/') : undefined
    return { bytes: await writeFile(files.cat(CID.parse(root), { path: inside, signal: deadline() }), dest) }
  },
  async getdir (root, dest) {
    return { files: await writeFolder(CID.parse(root), dest) }
  },
  async put (codec, data) {
    const cid = await codecs[codec].add(json.parse(data))
    return { cid: cid.toString() }
  },
  async node (cid) {
    const key = CID.parse(cid)
    const codec = key.code === json.code ? 'dag-json' : 'dag-cbor'
    return { data: json.stringify(await codecs[codec].get(key, { signal: deadline() })) }
  },
  async block (cid, dest) {
    return { bytes: await writeFile(helia.blockstore.get(CID.parse(cid), { signal: deadline() }), dest) }
  },
  async carexport (cid, dest) {
    return { bytes: await writeFile(cars.export(CID.parse(cid), { signal: deadline() }), dest) }
  },
  async carimport (file) {
    const reader = await CarReader.fromIterable(fs.createReadStream(file))
    await cars.import(reader, { signal: deadline() })
    return { roots: (await reader.getRoots()).map(String) }
  }
}

process.on('uncaughtException', error => {
  if (error.code === 'EPIPE') process.exit(1) // the test is gone
  console.error('uncaught', error)
})
process.on('unhandledRejection', error => console.error('unhandled', error))

// Not `getMultiaddrs`, which waits with public ones until somebody has reached them.
const listening = libp2p.components.transportManager.getAddrs().map(addr => `${addr}/p2p/${libp2p.peerId}`)
answer({ event: 'ready', peer_id: libp2p.peerId.toString(), addrs: listening })
for await (const line of readline.createInterface({ input: process.stdin })) {
  const [cmd, ...args] = line.split('\t')
  if (cmd === 'quit') break
  try {
    if (!Object.hasOwn(commands, cmd)) throw new Error('unknown command')
    answer({ cmd, ok: true, ...await commands[cmd](...args) })
  } catch (error) {
    console.error(error)
    answer({ cmd, ok: false, error: `${error.name}: ${error.message}` })
  }
}
process.exit(0)
