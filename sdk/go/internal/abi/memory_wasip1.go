package abi

import "unsafe"

// The host calls realloc for memory in which it writes the parameters of a callback, and the results of its own functions. It is
// memory of Go's heap: it lives as long as something refers to it. `given` refers to it until Take has made strings of it.
var given [][]uint64

//go:wasmexport cabi_realloc
func realloc(old unsafe.Pointer, oldSize, align, size uint32) unsafe.Pointer {
	if size == 0 {
		return unsafe.Pointer(&nothing)
	}
	block := make([]uint64, (size+7)/8)
	start := unsafe.Pointer(unsafe.SliceData(block))
	if oldSize > 0 {
		copy(unsafe.Slice((*byte)(start), size), unsafe.Slice((*byte)(old), oldSize))
	}
	given = append(given, block)
	return start
}

// nothing is where a list without elements is.
var nothing uint64

// While the host allocates memory, a component must not call an import. But Go's collector reads the clock while it allocates. So the
// clock is paused whenever the host may allocate: between two callbacks, and in its functions with a result. Until it goes on, the last
// known time is returned.
//
//go:wasmimport wasi_snapshot_preview1 adapter_monotonic_clock_set_paused
func pauseClock(paused uint32)

func init() { pauseClock(1) }

// Begin begins a callback. Its parameters are strings by now, so the memory in which the host wrote them is only theirs.
func Begin() {
	pauseClock(0)
	release()
}

// End ends a callback. The host reads the result in the area, which stays until the next callback.
func End(area *Area) unsafe.Pointer {
	pauseClock(1)
	return area.Pointer()
}

// ask calls a function of the host that writes its result to an area.
func ask(call func(result unsafe.Pointer)) View {
	pauseClock(1)
	call(result.Pointer())
	pauseClock(0)
	return result.View()
}

// result is the area of the running call's result. A call reads it before the next one begins.
var result = NewArea(40)

// release forgets the memory that the host was given. Whatever was read of it stays, as long as it is in use.
func release() {
	clear(given)
	given = given[:0]
}

// pointer is an address in the module's memory.
func pointer(address uint32) unsafe.Pointer { return unsafe.Add(unsafe.Pointer(nil), uintptr(address)) }

// TextAt is a string that the host has written. It isn't copied, because the memory is Go's.
func TextAt(start unsafe.Pointer, length uint32) string { return unsafe.String((*byte)(start), length) }

// View reads a value that the host has written, by the offsets of the contract's layout.
type View struct{ start unsafe.Pointer }

// At is the value at an address.
func At(start unsafe.Pointer) View { return View{start} }

func (v View) place(at int) unsafe.Pointer { return unsafe.Add(v.start, at) }

// From is the value at an offset.
func (v View) From(at int) View { return View{v.place(at)} }

func (v View) U8(at int) uint8   { return *(*uint8)(v.place(at)) }
func (v View) U16(at int) uint16 { return *(*uint16)(v.place(at)) }
func (v View) U32(at int) uint32 { return *(*uint32)(v.place(at)) }
func (v View) U64(at int) uint64 { return *(*uint64)(v.place(at)) }

// Text is a string, or a list of bytes.
func (v View) Text(at int) string { return TextAt(pointer(v.U32(at)), v.U32(at+4)) }

// Option is a string that may be absent.
func (v View) Option(at int) (string, bool) {
	if v.U8(at) == 0 {
		return "", false
	}
	return v.Text(at + 4), true
}

// Payload is a payload.
func (v View) Payload(at int) Payload { return Payload{uint32(v.U8(at)), v.Text(at + 4)} }

// List is the elements of a list, each of a size.
func (v View) List(at, size int) []View {
	start, count := pointer(v.U32(at)), int(v.U32(at+4))
	views := make([]View, count)
	for n := range views {
		views[n] = View{unsafe.Add(start, n*size)}
	}
	return views
}

// Pairs is a list of pairs of strings.
func (v View) Pairs(at int) []Pair {
	list := v.List(at, 16)
	pairs := make([]Pair, len(list))
	for n, pair := range list {
		pairs[n] = Pair{pair.Text(0), pair.Text(8)}
	}
	return pairs
}

// Area is memory for a value that the host reads, or writes as the result of one of its functions.
type Area struct {
	words []uint64
	// kept refers to the strings in the area, so that they live as long as the area.
	kept []string
}

// NewArea is an area of so many bytes, all of them zero.
func NewArea(size int) *Area { return &Area{words: make([]uint64, (size+7)/8)} }

// Pointer is the address of the area.
func (a *Area) Pointer() unsafe.Pointer {
	if len(a.words) == 0 {
		return unsafe.Pointer(&nothing)
	}
	return unsafe.Pointer(unsafe.SliceData(a.words))
}

// View reads the area.
func (a *Area) View() View { return View{a.Pointer()} }

// Clear makes all of it zero.
func (a *Area) Clear() {
	clear(a.words)
	a.kept = a.kept[:0]
}

func (a *Area) PutU8(at int, value uint8)   { *(*uint8)(unsafe.Add(a.Pointer(), at)) = value }
func (a *Area) PutU16(at int, value uint16) { *(*uint16)(unsafe.Add(a.Pointer(), at)) = value }
func (a *Area) PutU32(at int, value uint32) { *(*uint32)(unsafe.Add(a.Pointer(), at)) = value }

// PutText writes a string, or a list of bytes.
func (a *Area) PutText(at int, text string) {
	a.kept = append(a.kept, text)
	a.PutU32(at, uint32(uintptr(unsafe.Pointer(unsafe.StringData(text)))))
	a.PutU32(at+4, uint32(len(text)))
}

// PutOption writes bytes that may be absent.
func (a *Area) PutOption(at int, bytes []byte) {
	if bytes != nil {
		a.PutU8(at, 1)
		a.PutText(at+4, Shared(bytes))
	}
}

// PutPayload writes a payload.
func (a *Area) PutPayload(at int, payload Payload) {
	a.PutU8(at, uint8(payload.Kind))
	a.PutText(at+4, payload.Data)
}

// PutList writes a list whose elements are in another area.
func (a *Area) PutList(at int, list *Area, count int) {
	a.kept = append(a.kept, list.kept...)
	a.kept = append(a.kept, TextAt(list.Pointer(), 8))
	a.PutU32(at, uint32(uintptr(list.Pointer())))
	a.PutU32(at+4, uint32(count))
}

// pairs is a list of pairs as an area, and their number.
func pairs(list []Pair) (*Area, uint32) {
	area := NewArea(16 * len(list))
	for n, pair := range list {
		area.PutText(16*n, pair.Name)
		area.PutText(16*n+8, pair.Value)
	}
	return area, uint32(len(list))
}
