//! Tests of the reader, with the bytes of frames.

use super::*;

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// Returns a client's frame.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..126 => frame.push(0x80 | u8::try_from(length).expect("it fits")),
        length @ 126..65_536 => {
            frame.push(0x80 | 126);
            frame.extend(u16::try_from(length).expect("it fits").to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend(MASK);
    unmask(payload, MASK, &mut frame);
    frame
}

/// Returns the events for bytes that come in pieces of this size.
fn read(bytes: &[u8], piece: usize) -> Vec<Result<ReadEvent, CloseCode>> {
    read_by(&mut Reader::new(1000, false), bytes, piece)
}

/// Returns the events of this reader. Each event comes in a turn of its own.
fn read_by(reader: &mut Reader, bytes: &[u8], piece: usize) -> Vec<Result<ReadEvent, CloseCode>> {
    let (mut events, mut waiting, mut inflation) = (Vec::new(), Vec::new(), Inflation::default());
    for piece in bytes.chunks(piece) {
        waiting.extend_from_slice(piece);
        let mut input = &waiting[..];
        loop {
            inflation.begin_turn();
            match reader.next(&mut input, &mut inflation) {
                Ok(Some(ReadEvent::Postponed)) => {}
                Ok(Some(next)) => events.push(Ok(next)),
                Ok(None) => break,
                Err(code) => {
                    events.push(Err(code));
                    return events;
                }
            }
        }
        waiting = input.to_vec();
    }
    events
}

fn text(text: &str) -> Result<ReadEvent, CloseCode> {
    Ok(ReadEvent::Message(Incoming::Text(text.into())))
}

#[test]
fn messages_are_read_in_pieces_of_any_size() {
    let long = "é".repeat(100);
    let frames = [
        frame(0x81, b"one"),
        frame(0x81, b""),
        frame(0x82, &[0, 255]),
        frame(0x01, &long.as_bytes()[..7]),
        frame(0x89, b"are you there?"),
        frame(0x00, &long.as_bytes()[7..50]),
        frame(0x8A, b""),
        frame(0x80, &long.as_bytes()[50..]),
        frame(0x81, long.as_bytes()),
        frame(0x88, b"\x03\xe8bye"),
    ];
    let expected = [
        text("one"),
        text(""),
        Ok(ReadEvent::Message(Incoming::Binary(Bytes::from_static(&[0, 255])))),
        Ok(ReadEvent::Ping(Bytes::from_static(b"are you there?"))),
        Ok(ReadEvent::Pong),
        text(&long),
        text(&long),
        Ok(ReadEvent::Close(Some(1000))),
    ];
    let bytes = frames.concat();
    for piece in [1, 2, 3, 7, 64, bytes.len()] {
        assert_eq!(read(&bytes, piece), expected, "in pieces of {piece}");
    }
}

#[test]
fn violations_are_found_before_the_payload_arrives() {
    let (broken, big) = (|| Err(CloseCode::ProtocolError), || Err(CloseCode::TooBig));
    let begun = frame(0x01, b"a");
    let cases: [(&str, Vec<u8>, Result<ReadEvent, CloseCode>); 14] = [
        ("no mask", vec![0x81, 1, b'a'], broken()),
        ("a reserved bit", frame(0xC1, b"a"), broken()),
        ("a reserved kind", frame(0x83, b"a"), broken()),
        ("a ping in two frames", frame(0x09, b"a"), broken()),
        ("a long ping", frame(0x89, &[0; 126])[..8].to_vec(), broken()),
        ("a continuation without a beginning", frame(0x80, b"a"), broken()),
        ("a message within another", [begun.clone(), frame(0x81, b"a")].concat(), broken()),
        ("too long", frame(0x81, &[b'a'; 1001])[..4].to_vec(), big()),
        ("far too long", vec![0x81, 0xFF, 0xFF, 0, 0, 0, 0, 0, 0, 0], big()),
        ("too long in all", [begun, frame(0x80, &[b'a'; 1000])].concat(), big()),
        ("text that isn't UTF-8", frame(0x81, &[0xC3]), Err(CloseCode::InvalidText)),
        ("half a code", frame(0x88, &[3]), broken()),
        ("a code that isn't for frames", frame(0x88, &[3, 0xED]), broken()),
        ("a reason that isn't UTF-8", frame(0x88, &[3, 0xE8, 0xC3]), Err(CloseCode::InvalidText)),
    ];
    for (what, bytes, expected) in cases {
        assert_eq!(read(&bytes, bytes.len()).pop(), Some(expected), "{what}");
    }
}

#[test]
fn payloads_of_any_length_are_unmasked() {
    for length in 0..40 {
        let payload: Vec<u8> = (0..length).collect();
        let (mut masked, mut back) = (Vec::new(), vec![9]);
        unmask(&payload, MASK, &mut masked);
        unmask(&masked, MASK, &mut back);
        assert_eq!(back[1..], payload);
        assert!(masked.iter().zip(&payload).enumerate().all(|(at, (a, b))| a ^ b == MASK[at % 4]));
    }
}
/// "Hello", compressed: the example of RFC 7692, 7.2.3.1.
const HELLO: [u8; 7] = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];

#[test]
fn compressed_messages_are_read_in_pieces_of_any_size() {
    let frames = [
        frame(0xC1, &HELLO),
        frame(0x81, b"plain"),
        frame(0xC2, &HELLO),
        // One message in three frames, with control frames in between. Only its first frame has the bit.
        frame(0x41, &HELLO[..3]),
        frame(0x89, b"are you there?"),
        frame(0x00, &HELLO[3..5]),
        frame(0x00, b""),
        frame(0x8A, b""),
        frame(0x80, &HELLO[5..]),
        frame(0x01, b"pla"),
        frame(0x80, b"in"),
        frame(0xC1, &[0]),
    ];
    let expected = [
        text("Hello"),
        text("plain"),
        Ok(ReadEvent::Message(Incoming::Binary(Bytes::from_static(b"Hello")))),
        Ok(ReadEvent::Ping(Bytes::from_static(b"are you there?"))),
        Ok(ReadEvent::Pong),
        text("Hello"),
        text("plain"),
        text(""),
    ];
    let bytes = frames.concat();
    for piece in [1, 2, 3, 7, 64, bytes.len()] {
        assert_eq!(read_by(&mut Reader::new(1000, true), &bytes, piece), expected, "in pieces of {piece}");
    }
}

#[test]
fn violations_of_compression_are_found() {
    let (broken, big) = (Err(CloseCode::ProtocolError), Err(CloseCode::TooBig));
    let begun = frame(0x41, &HELLO[..3]);
    // The text is "\xff", in a block without compression.
    let no_text = frame(0xC1, &[0x00, 0x01, 0x00, 0xfe, 0xff, 0xff, 0x00]);
    let cases = [
        ("a ping with the bit", frame(0xC9, b""), &broken),
        ("a close frame with the bit", frame(0xC8, b""), &broken),
        ("a continuation with the bit", [begun.clone(), frame(0xC0, &HELLO[3..])].concat(), &broken),
        ("the second reserved bit", frame(0xA1, &HELLO), &broken),
        ("the third reserved bit", frame(0xD1, &HELLO), &broken),
        ("a message within another", [begun, frame(0xC1, &HELLO)].concat(), &broken),
        ("no valid stream", frame(0xC1, &[0x06]), &broken),
        ("half a message", frame(0xC1, &HELLO[..3]), &broken),
        ("too long while it is compressed", frame(0xC1, &[0; 1001])[..4].to_vec(), &big),
        ("text that isn't UTF-8", no_text, &Err(CloseCode::InvalidText)),
    ];
    for (what, bytes, expected) in cases {
        let events = read_by(&mut Reader::new(1000, true), &bytes, bytes.len());
        assert_eq!(events.last(), Some(expected), "{what}");
    }
    assert_eq!(read(&frame(0xC1, &HELLO), 100), [broken], "it wasn't negotiated");
    let short = read_by(&mut Reader::new(4, true), &frame(0xC1, &HELLO[..]), 100);
    assert_eq!(short, [big], "too long before and after it is inflated");
}

#[test]
fn a_compressed_message_waits_for_the_next_turn() {
    let bytes = [frame(0x81, b"plain"), frame(0xC1, &HELLO), frame(0x81, b"plain")].concat();
    let (mut reader, mut inflation) = (Reader::new(1000, true), Inflation::default());
    let mut input = &bytes[..];
    // Without a turn, no work is left.
    assert_eq!(reader.next(&mut input, &mut inflation).map(|event| event.map(Ok)), Ok(Some(text("plain"))));
    for _ in 0..2 {
        let left = input.len();
        assert_eq!(reader.next(&mut input, &mut inflation), Ok(Some(ReadEvent::Postponed)));
        assert_eq!((input.len(), reader.is_inflating()), (left, false), "it takes no memory");
    }
    inflation.begin_turn();
    for expected in ["Hello", "plain"] {
        assert_eq!(reader.next(&mut input, &mut inflation).map(|event| event.map(Ok)), Ok(Some(text(expected))));
    }
    assert_eq!(reader.next(&mut input, &mut inflation), Ok(None));
}
