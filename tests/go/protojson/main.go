// Program protojson reads JSON records, one a line, as messages of a schema and writes each in hexadecimal, or "refused".
//
// It is the second opinion of the tests about Protobuf: Go's implementation is the strictest of the official ones.
// Usage: protojson DESCRIPTOR_SET_FILE FULL_NAME
package main

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"log"
	"os"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

func main() {
	data, err := os.ReadFile(os.Args[1])
	check(err)
	set := &descriptorpb.FileDescriptorSet{}
	check(proto.Unmarshal(data, set))
	files, err := protodesc.NewFiles(set)
	check(err)
	found, err := files.FindDescriptorByName(protoreflect.FullName(os.Args[2]))
	check(err)
	options := protojson.UnmarshalOptions{Resolver: dynamicpb.NewTypes(files)}
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 16<<20)
	out := bufio.NewWriter(os.Stdout)
	for in.Scan() {
		message := dynamicpb.NewMessage(found.(protoreflect.MessageDescriptor))
		if err := options.Unmarshal(in.Bytes(), message); err != nil {
			fmt.Fprintln(out, "refused")
			check(out.Flush())
			continue
		}
		encoded, err := proto.MarshalOptions{Deterministic: true, AllowPartial: true}.Marshal(message)
		check(err)
		fmt.Fprintln(out, hex.EncodeToString(encoded))
		check(out.Flush())
	}
	check(in.Err())
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
