#include "sherd/io/safetensors.hpp"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "sherd/base/errors.hpp"
#include "sherd/io/json.hpp"

namespace sherd::io {
namespace {

using nlohmann::json;

constexpr Bytes longest_header = 100 * mib;
constexpr std::size_t most_dimensions = 8;

struct KnownType {
  std::string_view name;
  Bytes size;
  std::optional<DType> type;
};
constexpr KnownType known_types[] = {
    {"F32", 4, DType::f32},    {"F16", 2, DType::f16},       {"BF16", 2, DType::bf16},
    {"F64", 8, std::nullopt},  {"I64", 8, std::nullopt},     {"U64", 8, std::nullopt},
    {"I32", 4, std::nullopt},  {"U32", 4, std::nullopt},     {"I16", 2, std::nullopt},
    {"U16", 2, std::nullopt},  {"I8", 1, std::nullopt},      {"U8", 1, std::nullopt},
    {"BOOL", 1, std::nullopt}, {"F8_E4M3", 1, std::nullopt}, {"F8_E5M2", 1, std::nullopt},
};

/// Checks one file's header entry by entry.
class Reader {
 public:
  Reader(const File& file, Bytes data_start) : file_(file), data_start_(data_start) {}

  TensorIndex read(const json& header) const {
    if (!header.is_object()) refuse("header", "is no JSON object");
    TensorIndex index;
    for (const auto& [name, entry] : header.items()) {
      if (name == "__metadata__") {
        check_metadata(entry);
      } else {
        index.emplace(name, tensor(name, entry));
      }
    }
    check_cover(index);
    return index;
  }

 private:
  void check_metadata(const json& metadata) const {
    if (!metadata.is_object()) refuse("__metadata__", "is no JSON object");
    for (const json& value : metadata) {
      if (!value.is_string()) refuse("__metadata__", "has a value that is no string");
    }
  }

  TensorEntry tensor(const std::string& name, const json& entry) const {
    if (!entry.is_object() || entry.size() != 3 || !entry.contains("dtype") ||
        !entry.contains("shape") || !entry.contains("data_offsets")) {
      refuse(name, "needs exactly dtype, shape and data_offsets");
    }
    if (!entry["dtype"].is_string()) refuse(name, "has a dtype that is no string");
    TensorEntry result;
    result.dtype = entry["dtype"].get<std::string>();
    const auto* known = std::ranges::find(known_types, result.dtype, &KnownType::name);
    if (known == std::end(known_types)) {
      refuse(name, "has the unknown dtype '" + printable(result.dtype) + "'");
    }
    result.type = known->type;
    Bytes need = known->size;
    result.shape = numbers(name, entry["shape"], "shape", most_dimensions);
    for (const std::uint64_t size : result.shape) {
      if (__builtin_mul_overflow(need, size, &need)) refuse(name, "has a shape above 64 bits");
    }
    place(name, numbers(name, entry["data_offsets"], "data_offsets", 2), need, result);
    return result;
  }

  void place(const std::string& name, const std::vector<std::uint64_t>& offsets, Bytes need,
             TensorEntry& result) const {
    if (offsets.size() != 2) refuse(name, "needs two data_offsets");
    const Bytes room = file_.size() - data_start_;
    if (offsets[0] > offsets[1] || offsets[1] > room) {
      refuse(name, "has data_offsets " + std::to_string(offsets[0]) + " to " +
                       std::to_string(offsets[1]) + ", need an order and at most " +
                       std::to_string(room));
    }
    result.bytes = offsets[1] - offsets[0];
    result.offset = data_start_ + offsets[0];
    if (result.bytes != need) {
      refuse(name, "has " + std::to_string(result.bytes) + " bytes, need (by its shape) " +
                       std::to_string(need));
    }
  }

  std::vector<std::uint64_t> numbers(const std::string& name, const json& list, const char* what,
                                     std::size_t most) const {
    if (!list.is_array() || list.size() > most) {
      refuse(name, std::string("has a ") + what + " that is no list of at most " +
                       std::to_string(most) + " numbers");
    }
    std::vector<std::uint64_t> values;
    for (const json& value : list) {
      if (!value.is_number_unsigned()) {
        refuse(name, std::string("has a ") + what + " with something else than whole numbers");
      }
      values.push_back(value.get<std::uint64_t>());
    }
    return values;
  }

  void check_cover(const TensorIndex& index) const {
    std::vector<std::pair<std::pair<Bytes, Bytes>, const std::string*>> order;
    for (const auto& [name, entry] : index) {
      order.push_back({{entry.offset, entry.offset + entry.bytes}, &name});
    }
    std::ranges::sort(order, {}, [](const auto& item) { return item.first; });
    Bytes end = data_start_;
    for (const auto& [range, name] : order) {
      if (range.first != end) {
        file_.refuse(range.first, "tensor '" + printable(*name) + "': " +
                                      (range.first < end ? "overlaps the one before it"
                                                         : "leaves a gap before it"));
      }
      end = range.second;
    }
    if (end != file_.size()) file_.refuse(end, "has bytes that belong to no tensor");
  }

  [[noreturn]] void refuse(const std::string& name, const std::string& problem) const {
    throw DataError(file_.path() + ": tensor '" + printable(name) + "': " + problem);
  }

  const File& file_;
  Bytes data_start_;
};

}  // namespace

TensorIndex read_safetensors_index(const File& file) {
  std::array<unsigned char, 8> raw{};
  file.pread_exact(0, std::as_writable_bytes(std::span(raw)));
  Bytes length = 0;
  for (std::size_t i = 8; i-- > 0;) length = (length << 8) | raw[i];
  if (length > longest_header || length > file.size() - 8) {
    file.refuse(0, "has a header of " + std::to_string(length) + " bytes, need at most " +
                       std::to_string(std::min(longest_header, file.size() - 8)));
  }
  std::string text(length, '\0');
  file.pread_exact(8, std::as_writable_bytes(std::span(text)));
  if (!text.starts_with('{')) file.refuse(8, "has a header that does not start with '{'");
  const json header = parse_json(file.path(), 8, text);
  return Reader(file, 8 + length).read(header);
}

}  // namespace sherd::io
