package events

import "encoding/json"

// Codec writes values as payloads and reads them back. It must be safe for concurrent use.
type Codec interface {
	// Encode returns v, a value of a registered type, as valid JSON.
	Encode(v any) ([]byte, error)

	// Decode reads data into v: a pointer to a zero value of the registered type, or, where a pointer is registered, that pointer to a
	// zero value. It must not keep or change data. The text of its error is shown to people, so it should not hold what is in data.
	Decode(data []byte, v any) error
}

// jsonCodec is the Codec of encoding/json.
type jsonCodec struct{}

func (jsonCodec) Encode(v any) ([]byte, error) { return json.Marshal(v) }

func (jsonCodec) Decode(data []byte, v any) error {
	if err := json.Unmarshal(data, v); err != nil {
		return jsonError{err}
	}
	return nil
}
