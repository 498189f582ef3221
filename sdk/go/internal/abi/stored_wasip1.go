package abi

import "unsafe"

//go:wasmimport bennu:channel/store@0.1.0 get
func storeGet(key string, result unsafe.Pointer)

//go:wasmimport bennu:channel/store@0.1.0 scan
func storeScan(hasStart uint32, start string, hasEnd uint32, end string, order, limit uint32, result unsafe.Pointer)

//go:wasmimport bennu:channel/entries@0.1.0 get
func entryGet(key string, result unsafe.Pointer)

//go:wasmimport bennu:channel/entries@0.1.0 get-many
func entryGetMany(keys string, result unsafe.Pointer)

//go:wasmimport bennu:channel/entries@0.1.0 scan
func entryScan(hasStart uint32, start string, hasEnd uint32, end string, order, limit uint32, result unsafe.Pointer)

//go:wasmimport bennu:channel/entries@0.1.0 put-many
func entryPutMany(entries string)

//go:wasmimport bennu:channel/entries@0.1.0 delete-range
func entryDeleteRange(hasStart uint32, start string, hasEnd uint32, end string, limit uint32) uint32

func StoreGet(key string) (string, bool) {
	return option(func(result unsafe.Pointer) { storeGet(key, result) })
}

// StoreScan returns the rows of a range. An empty bound is none.
func StoreScan(start, end string, backward bool, limit uint32) []Row {
	view := ask(func(result unsafe.Pointer) {
		storeScan(flag(start != ""), start, flag(end != ""), end, flag(backward), limit, result)
	})
	list := view.List(0, 16)
	rows := make([]Row, len(list))
	for n, row := range list {
		rows[n] = Row{row.Text(0), row.Text(8)}
	}
	release()
	return rows
}

func EntryGet(key string) (string, bool) {
	return option(func(result unsafe.Pointer) { entryGet(key, result) })
}

// EntryGetMany returns the values of keys. A value that is absent is nil.
func EntryGetMany(keys []string) []*string {
	var packed packer
	for _, key := range keys {
		packed.lengths(key)
		packed.parts(key)
	}
	list := text(func(result unsafe.Pointer) { entryGetMany(packed.String(), result) })
	values := make([]*string, 0, len(keys))
	for len(list) > 0 {
		length := u32(list)
		if list = list[4:]; length == absent {
			values = append(values, nil)
			continue
		}
		value := list[:length]
		values, list = append(values, &value), list[length:]
	}
	return values
}

// EntryScan returns the entries of a range. An empty bound is none.
func EntryScan(start, end string, backward bool, limit uint32) []Row {
	list := text(func(result unsafe.Pointer) {
		entryScan(flag(start != ""), start, flag(end != ""), end, flag(backward), limit, result)
	})
	var rows []Row
	for len(list) > 0 {
		key, value := u32(list), u32(list[4:])
		list = list[8:]
		rows = append(rows, Row{list[:key], list[key : key+value]})
		list = list[key+value:]
	}
	return rows
}

func EntryPutMany(rows []Row) {
	var packed packer
	for _, row := range rows {
		packed.lengths(row.Key, row.Value)
		packed.parts(row.Key, row.Value)
	}
	entryPutMany(packed.String())
}

func EntryDeleteRange(start, end string, limit uint32) int {
	return int(entryDeleteRange(flag(start != ""), start, flag(end != ""), end, limit))
}

// absent is the length of a value that is absent.
const absent = 1<<32 - 1

func u32(bytes string) uint32 {
	return uint32(bytes[0]) | uint32(bytes[1])<<8 | uint32(bytes[2])<<16 | uint32(bytes[3])<<24
}

// packer makes a packed list, as `wit/entries.wit` describes it.
type packer struct{ bytes []byte }

func (p *packer) lengths(parts ...string) {
	for _, part := range parts {
		length := len(part)
		p.bytes = append(p.bytes, byte(length), byte(length>>8), byte(length>>16), byte(length>>24))
	}
}

func (p *packer) parts(parts ...string) {
	for _, part := range parts {
		p.bytes = append(p.bytes, part...)
	}
}

func (p *packer) String() string { return Shared(p.bytes) }
