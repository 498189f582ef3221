package bennu

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
)

// checkState panics if the host can't keep a type: package json passes over fields whose names begin with a lower-case letter.
func checkState(of reflect.Type) {
	checkFields(of, of, map[reflect.Type]bool{})
}

func checkFields(root, of reflect.Type, seen map[reflect.Type]bool) {
	switch of.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		checkFields(root, of.Elem(), seen)
		return
	case reflect.Func, reflect.Chan, reflect.Complex64, reflect.Complex128:
		panic(fmt.Sprintf("the host can't keep %s: it has a %s, and a state must be a JSON value", root, of))
	case reflect.Struct:
	default:
		return
	}
	if seen[of] || encodesItself(of) {
		return
	}
	seen[of] = true
	for at := range of.NumField() {
		field := of.Field(at)
		if field.Tag.Get("json") == "-" {
			continue
		}
		if !field.IsExported() && !field.Anonymous {
			owner := of
			if owner.Name() == "" {
				owner = root
			}
			const advice = "begin its name with an upper-case letter, or give it the tag `json:\"-\"`"
			panic(fmt.Sprintf("the host can't keep the field %s of %s: %s", field.Name, owner, advice))
		}
		checkFields(root, field.Type, seen)
	}
}

// encodesItself is whether a type has its own form in JSON.
func encodesItself(of reflect.Type) bool {
	pointer := reflect.PointerTo(of)
	return pointer.Implements(reflect.TypeFor[json.Marshaler]()) || pointer.Implements(reflect.TypeFor[encoding.TextMarshaler]())
}

// checkMethods panics if a method has the name of a callback, and another signature. Otherwise it would never be called.
func checkMethods[C, R any]() {
	of := reflect.TypeFor[*C]()
	check := func(name string, has bool, wanted reflect.Type) {
		if has && !of.Implements(wanted) {
			panic(fmt.Sprintf("the method %s of %s has a different signature from that of %s", name, of.Elem(), wanted))
		}
	}
	// The names are constants, so that the linker can leave out all other methods.
	_, info := of.MethodByName("HandleInfo")
	_, out := of.MethodByName("HandleOut")
	_, end := of.MethodByName("Terminate")
	_, message := of.MethodByName("HandleMessage")
	_, topicInfo := of.MethodByName("HandleTopicInfo")
	_, tick := of.MethodByName("HandleTick")
	_, seat := of.MethodByName("HandleSeat")
	_, upgrade := of.MethodByName("Upgrade")
	_, room := of.MethodByName("UpgradeRoom")
	_, entry := of.MethodByName("UpgradeEntry")
	check("HandleInfo", info, reflect.TypeFor[InfoHandler[R]]())
	check("HandleOut", out, reflect.TypeFor[OutHandler]())
	check("Terminate", end, reflect.TypeFor[Terminator[R]]())
	check("HandleMessage", message, reflect.TypeFor[MessageHandler[R]]())
	check("HandleTopicInfo", topicInfo, reflect.TypeFor[TopicInfoHandler[R]]())
	check("HandleTick", tick, reflect.TypeFor[Ticker[R]]())
	check("HandleSeat", seat, reflect.TypeFor[SeatHandler[R]]())
	check("Upgrade", upgrade, reflect.TypeFor[Upgrader]())
	check("UpgradeRoom", room, reflect.TypeFor[RoomUpgrader[R]]())
	check("UpgradeEntry", entry, reflect.TypeFor[EntryUpgrader]())
}
