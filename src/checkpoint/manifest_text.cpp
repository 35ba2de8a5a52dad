// The manifest as text, and back. Text comes from strangers: every number is checked before use.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

#include "sherd/base/errors.hpp"
#include "sherd/checkpoint/manifest.hpp"
#include "sherd/checkpoint/parameters_hash.hpp"
#include "sherd/io/checksum.hpp"
#include "sherd/io/json.hpp"

namespace sherd::checkpoint {
namespace {

using nlohmann::json;

constexpr std::string_view opening = "{\"checkpoint\":", middle = ",\"crc32c\":\"",
                           closing = "\"}\n";
constexpr std::size_t sum_digits = 8;
constexpr int version = 1;
constexpr std::uint64_t most = std::uint64_t{1} << 62;
constexpr std::size_t most_tensors = 1'000'000, most_values = 50'000'000;

std::uint32_t sum_of(std::string_view text) {
  return io::crc32c(std::as_bytes(std::span(text.data(), text.size())));
}

std::string sealed(const json& body) {
  // A tokenizer's path may be no UTF-8.
  const std::string text = body.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  return fmt::format("{}{}{}{:08x}{}", opening, text, middle, sum_of(text), closing);
}

std::string hex_of(const std::vector<std::uint32_t>& sums) {
  std::string text;
  for (const std::uint32_t sum : sums) text += fmt::format("{:08x}", sum);
  return text;
}

json json_of(const Contents& contents) {
  json files = json::array(), tensors = json::array();
  for (const FileEntry& file : contents.files)
    files.push_back({{"name", file.name}, {"size", file.size}, {"crc32c", hex_of(file.blocks)}});
  for (const Tensor& tensor : contents.tensors) {
    json all = json::array();
    for (const TensorState& state : tensor.states) {
      json extents = json::array();
      for (const Extent& e : state.extents) extents.push_back({e.file, e.offset, e.first, e.count});
      all.push_back({{"state", name_of(state.state)},
                     {"dtype", name_of(state.type)},
                     {"digest", hash_text(state.digest)},
                     {"extents", std::move(extents)}});
    }
    tensors.push_back({{"name", tensor.name},
                       {"shape", {tensor.shape.rows, tensor.shape.cols}},
                       {"states", std::move(all)}});
  }
  return {{"files", std::move(files)}, {"tensors", std::move(tensors)}};
}

// What no run keeps no reader of a state knows how to widen.
bool may_keep(State state, DType type) {
  const bool moment = state == State::moment1 || state == State::moment2;
  if (type == DType::q8) return state != State::master;
  if (type == DType::u16) return state == State::master;
  return type == DType::f32 || (state != State::master && (type == DType::bf16 || !moment));
}

/// Takes checked values out of JSON.
class ManifestReader {
 public:
  explicit ManifestReader(const std::string& path) : path_(path) {}

  [[noreturn]] void refuse(const std::string& what) const {
    throw DataError(path_ + ": is no checkpoint sherd can read (" + io::printable(what) + ")");
  }
  const json& at(const json& object, const char* key, json::value_t type) const {
    const auto found = object.find(key);
    if (found == object.end()) refuse(std::string(key) + " is missing");
    if (found->type() != type) refuse(std::string(key) + " is of another type");
    return *found;
  }
  std::uint64_t count(const json& value, std::uint64_t high = most) const {
    if (!value.is_number_unsigned() || value.get<std::uint64_t>() > high)
      refuse("got a number out of range");
    return value.get<std::uint64_t>();
  }
  std::uint64_t count(const json& object, const char* key, std::uint64_t high = most) const {
    return count(at(object, key, json::value_t::number_unsigned), high);
  }
  std::string text(const json& object, const char* key) const {
    return at(object, key, json::value_t::string).get<std::string>();
  }
  std::uint64_t hex(std::string_view digits) const {
    std::uint64_t value = 0;
    const bool plain = std::ranges::all_of(
        digits, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
    const auto end = std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
    if (!plain || digits.empty() || end.ec != std::errc{}) refuse("got bad hexadecimal digits");
    return value;
  }

  Contents contents(const json& body) const {
    Contents result;
    for (const json& file : at(body, "files", json::value_t::array))
      result.files.push_back(file_of(file));
    const json& tensors = at(body, "tensors", json::value_t::array);
    if (tensors.size() > most_tensors) refuse("has too many tensors");
    for (const json& tensor : tensors) {
      result.tensors.push_back(tensor_of(tensor));
      const std::size_t n = result.tensors.size();
      if (n > 1 && result.tensors[n - 2].name >= result.tensors[n - 1].name)
        refuse("tensors are not in order");
    }
    return result;
  }

 private:
  // A name that is a plain file of the folder.
  void check_name(const std::string& name) const {
    const bool plain = !name.empty() && name.size() <= 128 && name.front() != '.' &&
                       std::ranges::all_of(name, [](char c) {
                         return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' ||
                                c == '_' || c == '-';
                       });
    if (!plain || name == manifest_name) refuse("got the file name '" + name + "'");
  }
  FileEntry file_of(const json& object) const {
    if (!object.is_object()) refuse("files is of another type");
    FileEntry file{text(object, "name"), count(object, "size"), {}};
    check_name(file.name);
    const std::string sums = text(object, "crc32c");
    if (sums.size() % sum_digits != 0) refuse("got a checksum cut short");
    for (std::size_t i = 0; i < sums.size(); i += sum_digits)
      file.blocks.push_back(
          static_cast<std::uint32_t>(hex(std::string_view(sums).substr(i, sum_digits))));
    return file;
  }
  Tensor tensor_of(const json& object) const {
    if (!object.is_object()) refuse("tensors is of another type");
    Tensor tensor{text(object, "name"), {}, {}};
    if (tensor.name.empty() || tensor.name.size() > 512) refuse("got a tensor name out of range");
    const json& shape = at(object, "shape", json::value_t::array);
    if (shape.size() != 2) refuse("got a shape that is not two numbers");
    constexpr std::uint64_t longest = std::uint64_t{1} << 48;
    const std::uint64_t rows = count(shape[0], longest), cols = count(shape[1], longest);
    if (rows == 0 || cols == 0 || rows > (most / 16) / cols) refuse("got a shape out of range");
    tensor.shape = {static_cast<std::int64_t>(rows), static_cast<std::int64_t>(cols)};
    for (const json& one : at(object, "states", json::value_t::array)) {
      tensor.states.push_back(state_of(one));
      const std::size_t n = tensor.states.size();
      if (n > 1 && tensor.states[n - 2].state >= tensor.states[n - 1].state)
        refuse("states are not in order");
    }
    if (tensor.in_blocks() && tensor.states.size() > 1) refuse("got param as q8 beside others");
    return tensor;
  }
  TensorState state_of(const json& object) const {
    if (!object.is_object()) refuse("states is of another type");
    TensorState state;
    const std::string name = text(object, "state"), type = text(object, "dtype");
    std::size_t index = 0;
    while (index < states && name_of(static_cast<State>(index)) != name) ++index;
    if (index == states) refuse("got the state '" + name + "'");
    state.state = static_cast<State>(index);
    constexpr DType known[] = {DType::f32, DType::bf16, DType::f16, DType::u16, DType::q8};
    const auto found = std::ranges::find_if(known, [&](DType t) { return name_of(t) == type; });
    if (found == std::end(known)) refuse("got the dtype '" + type + "'");
    state.type = *found;
    if (!may_keep(state.state, state.type)) refuse("got " + name + " as " + type);
    const std::string digest = text(object, "digest");
    if (digest.size() != 32) refuse("got a digest of another length");
    state.digest = {hex(std::string_view(digest).substr(0, 16)),
                    hex(std::string_view(digest).substr(16))};
    for (const json& e : at(object, "extents", json::value_t::array)) {
      if (!e.is_array() || e.size() != 4) refuse("got an extent that is not four numbers");
      state.extents.push_back({static_cast<std::uint32_t>(count(e[0], 1 << 20)), count(e[1]),
                               count(e[2]), count(e[3])});
    }
    return state;
  }

  const std::string& path_;
};

/// The object under the seal. An intact checksum says the file is as it was written, no more.
json unsealed(const std::string& path, std::string_view text, const ManifestReader& reader) {
  const std::size_t tail = middle.size() + sum_digits + closing.size();
  if (text.size() < opening.size() + tail || !text.starts_with(opening) || !text.ends_with(closing))
    reader.refuse("it is cut short or of another format");
  const std::string_view body = text.substr(opening.size(), text.size() - opening.size() - tail);
  const std::string_view seal = text.substr(text.size() - tail);
  if (!seal.starts_with(middle)) reader.refuse("it is cut short or of another format");
  const std::uint64_t want = reader.hex(seal.substr(middle.size(), sum_digits));
  if (want != sum_of(body)) reader.refuse("its checksum is wrong");
  json object = io::parse_json(path, opening.size(), body, {text.size(), most_values, 8});
  if (!object.is_object()) reader.refuse("it is of another format");
  return object;
}

Progress progress_of(const json& object, const ManifestReader& reader) {
  constexpr std::uint64_t word = 0xffffffff;
  Progress p;
  const auto scale = static_cast<double>(reader.count(object, "scale_bits", word));
  p.scale = std::bit_cast<float>(static_cast<std::uint32_t>(scale));
  if (!(std::isfinite(p.scale) && p.scale > 0)) reader.refuse("got a loss scale out of range");
  p.good = static_cast<std::uint32_t>(reader.count(object, "good", word));
  p.hysteresis = static_cast<std::uint32_t>(reader.count(object, "hysteresis", word));
  p.skipped_in_row = static_cast<std::uint32_t>(reader.count(object, "skipped_in_row", word));
  p.step = reader.count(object, "step");
  p.applied = reader.count(object, "applied");
  if (p.applied > p.step) reader.refuse("got more applied steps than steps");
  return p;
}

}  // namespace

std::string hash_text(const Digest& sum) { return fmt::format("{:016x}{:016x}", sum[0], sum[1]); }

std::string to_text(const Contents& part) { return sealed(json_of(part)); }

std::string to_text(const Manifest& manifest) {
  json body = json_of(manifest.contents);
  const Progress& p = manifest.progress;
  body["version"] = version;
  body["run"] = manifest.run;
  body["library"] = manifest.library;
  body["world"] = manifest.world;
  body["progress"] = {{"scale_bits", std::bit_cast<std::uint32_t>(p.scale)},
                      {"good", p.good},
                      {"hysteresis", p.hysteresis},
                      {"skipped_in_row", p.skipped_in_row},
                      {"step", p.step},
                      {"applied", p.applied}};
  body["model"] = manifest.model;
  body["data"] = manifest.data;
  body["numerics_key"] = manifest.numerics_key;
  body["start_weights"] = fmt::format("{:016x}", manifest.start_weights);
  body["settings"] = manifest.settings;
  return sealed(body);
}

Contents parse_part(const std::string& path, std::string_view text) {
  const ManifestReader reader(path);
  Contents part = reader.contents(unsealed(path, text, reader));
  check(path, part, false);
  return part;
}

Manifest parse_manifest(const std::string& path, std::string_view text) {
  const ManifestReader reader(path);
  const json body = unsealed(path, text, reader);
  if (const std::uint64_t got = reader.count(body, "version"); got != version)
    reader.refuse(fmt::format("format version {}, this library reads {}", got, version));
  Manifest m;
  m.run = reader.text(body, "run");
  m.library = reader.text(body, "library");
  m.world = static_cast<int>(reader.count(body, "world", 1 << 20));
  m.progress = progress_of(reader.at(body, "progress", json::value_t::object), reader);
  m.model = reader.text(body, "model");
  m.data = reader.text(body, "data");
  m.numerics_key = reader.text(body, "numerics_key");
  const std::string start = reader.text(body, "start_weights");
  if (start.size() != 16) reader.refuse("got a fingerprint of another length");
  m.start_weights = reader.hex(start);
  for (const auto& [name, value] : reader.at(body, "settings", json::value_t::object).items()) {
    if (!value.is_string()) reader.refuse("settings are of another type");
    m.settings[name] = value.get<std::string>();
  }
  m.contents = reader.contents(body);
  check(path, m.contents, true);
  return m;
}

}  // namespace sherd::checkpoint
