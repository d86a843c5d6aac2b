//! `peerage-node`: command lines, the control socket, the file of what was announced.

use peerage_node::fuzzing;
use tokio::io::BufReader;

use crate::input::{Cuts, Values, however_cut};
use crate::io::{Script, run};
use crate::{Decoder, text, texts};

pub(crate) const DECODERS: &[Decoder] = &[
    Decoder { name: "control-line", run: control, seeds: control_seeds },
    Decoder { name: "command-line", run: command_line, seeds: || texts(COMMANDS) },
    Decoder {
        name: "duration",
        run: |bytes| text(bytes).is_some_and(fuzzing::duration),
        seeds: || texts(&["10", "1h30m", "250ms", " 2d", "5min", "-1s"]),
    },
    Decoder {
        name: "announced",
        run: fuzzing::announced,
        seeds: || {
            texts(&[
                "{\"provide\":\"pinned\",\"rounds\":{\"wan\":[18446744073709551615,1],\"lan\":[2,3]},\
                 \"roots\":{\"wan\":[\"bafkqaaa\"]}}",
                "{\"provide\":\"all\",\"rounds\":{},\"roots\":{}}",
            ])
        },
    },
];

/// Who speaks, then its lines in pieces.
fn control(input: &[u8]) -> bool {
    let mut values = Values(input);
    let client = values.u8().is_multiple_of(2);
    let read = however_cut(values.0, |pieces| {
        let mut reader = BufReader::new(Script::of(pieces));
        run(async {
            let read = if client {
                fuzzing::client_lines(&mut reader).await
            } else {
                fuzzing::owner_lines(&mut reader).await
            };
            read.map_err(|error| error.to_string())
        })
    });
    read.is_ok_and(|lines| lines > 0)
}

fn control_seeds() -> Vec<Vec<u8>> {
    let source = "\"source\":{\"link\":\"ipfs://x\",\"from\":[\"/ip4/127.0.0.1/tcp/1\"],\"offline\":false,\"wait\":1500}";
    let get = format!(
        "{{\"start\":{{\"protocol\":2,\"request\":{{\"command\":\"get\",{source},\"dest\":{{\"base64\":\"L2EvYg==\"}},\
         \"seed_for\":null,\"keep\":true,\"overwrite\":false,\"unsafe_symlinks\":false}}}}}}\n\"cancel\"\n"
    );
    let up = "{\"start\":{\"protocol\":2,\"request\":{\"command\":\"up\",\"provide\":\"all\"}}}\n";
    let welcome = "{\"welcome\":{\"protocol\":2,\"pid\":7,\"listen\":[],\"network\":{\"listen\":[],\"bootstrap\":null,\
        \"dht\":\"auto\",\"dht_private_addresses\":false,\"routers\":[],\"no_mdns\":true,\"perf\":false}}}\n";
    let events = "{\"event\":{\"event\":\"progress\",\"bytes\":1,\"total\":2,\"sources\":3}}\n\
        {\"event\":{\"event\":\"sung\",\"song\":1}}\n{\"finished\":{\"failure\":null}}\n\
        {\"finished\":{\"failure\":{\"kind\":\"failed\",\"message\":\"m\"}}}\n";
    let seed = |kind: u8, text: &str| [&[kind], &Cuts::seed([32, 30, 9], text.as_bytes())[..]].concat();
    vec![seed(0, &get), seed(0, up), seed(1, welcome), seed(1, events)]
}

const COMMANDS: &[&str] = &[
    "share\n/tmp/a\n--once\n--json\n\n",
    "get\n--offline\n-o\n/nowhere/else\n\nipfs://bafkqaaa?name=a\n",
    "up\n--listen\n/ip4/127.0.0.1/tcp/0\n--bootstrap\nnone\n--dht\noff\n--provide\nall\n\n",
    "find\nbafkqaaa\n--limit\n3\n\n",
    "pin\nadd\nbafkqaaa\n--name\nx\n\n",
    "ping\n/ip4/192.0.2.7/tcp/4001\n\n",
    "add\n--only-hash\n--profile\nunixfs-v0-2015\n/a\n\n",
];

/// Arguments in lines up to an empty one, then what is on stdin.
fn command_line(bytes: &[u8]) -> bool {
    let Some(text) = text(bytes) else { return false };
    let (args, stdin) = text.split_once("\n\n").unwrap_or((text, ""));
    let args: Vec<&str> = args.lines().collect();
    fuzzing::command_line(&args, stdin.as_bytes())
}
