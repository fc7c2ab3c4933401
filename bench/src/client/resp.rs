//! As much of the Redis protocol (RESP2) as the load needs: writing commands, and splitting replies.

/// Appends a command.
pub(super) fn put_command(out: &mut Vec<u8>, words: &[&[u8]]) {
    put_header(out, b'*', words.len());
    for word in words {
        put_header(out, b'$', word.len());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

fn put_header(out: &mut Vec<u8>, kind: u8, number: usize) {
    out.push(kind);
    out.extend_from_slice(number.to_string().as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// One reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Reply<'a> {
    /// An integer, a simple string or a bulk string: its text.
    Text(&'a [u8]),
    /// An array: the text of its last element, which is the payload of a published message.
    Array { last: &'a [u8] },
    /// An error: its text.
    Error(&'a [u8]),
}

/// The first reply in `bytes` and how many bytes it takes; `None` when it is not complete.
pub(super) fn parse(bytes: &[u8]) -> Option<(Reply<'_>, usize)> {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
    let (line, after) = (&bytes[1..end], end + 2);
    match bytes[0] {
        b'$' => {
            let Some(length) = number(line) else { return Some((Reply::Text(b""), after)) };
            let text = bytes.get(after..after + length)?;
            (bytes.len() >= after + length + 2).then_some((Reply::Text(text), after + length + 2))
        }
        b'*' => {
            let (mut at, mut last) = (after, &b""[..]);
            for _ in 0..number(line).unwrap_or_default() {
                let (element, used) = parse(bytes.get(at..).filter(|rest| !rest.is_empty())?)?;
                let (Reply::Text(text) | Reply::Array { last: text } | Reply::Error(text)) = element;
                last = text;
                at += used;
            }
            Some((Reply::Array { last }, at))
        }
        b'-' => Some((Reply::Error(line), after)),
        _ => Some((Reply::Text(line), after)),
    }
}

fn number(line: &[u8]) -> Option<usize> {
    std::str::from_utf8(line).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_replies_when_parsed_then_each_is_split_off_once_it_is_whole() {
        let message = b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$5\r\nhello\r\n:1\r\n";
        assert_eq!(parse(message), Some((Reply::Array { last: b"hello" }, message.len() - 4)));
        assert_eq!(parse(&message[message.len() - 4..]), Some((Reply::Text(b"1"), 4)));
        assert_eq!(parse(b"-ERR no\r\n"), Some((Reply::Error(b"ERR no"), 9)));
        assert_eq!(parse(b"$-1\r\n"), Some((Reply::Text(b""), 5)));
        for cut in 1..message.len() - 4 {
            assert_eq!(parse(&message[..cut]), None, "cut at {cut}");
        }
    }

    #[test]
    fn given_a_command_when_written_then_redis_would_read_it() {
        let mut out = Vec::new();
        put_command(&mut out, &[b"PUBLISH", b"c", b"hello"]);
        assert_eq!(out, b"*3\r\n$7\r\nPUBLISH\r\n$1\r\nc\r\n$5\r\nhello\r\n");
    }
}
