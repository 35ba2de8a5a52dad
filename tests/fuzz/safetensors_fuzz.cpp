// The header of safetensors files.
#include <algorithm>
#include <array>
#include <cstring>
#include <utility>
#include <vector>

#include "fuzz/json_change.hpp"
#include "fuzz/memory_file.hpp"
#include "io/temp_folder.hpp"
#include "sherd/base/errors.hpp"
#include "sherd/io/safetensors.hpp"

namespace sherd::fuzz {
namespace {

using Wide = unsigned __int128;

constexpr std::array<std::pair<const char*, std::uint64_t>, 15> widths = {{{"F64", 8},
                                                                           {"I64", 8},
                                                                           {"U64", 8},
                                                                           {"F32", 4},
                                                                           {"I32", 4},
                                                                           {"U32", 4},
                                                                           {"F16", 2},
                                                                           {"BF16", 2},
                                                                           {"I16", 2},
                                                                           {"U16", 2},
                                                                           {"U8", 1},
                                                                           {"I8", 1},
                                                                           {"BOOL", 1},
                                                                           {"F8_E4M3", 1},
                                                                           {"F8_E5M2", 1}}};

std::uint64_t width_of(const std::string& dtype) {
  const auto* found = std::ranges::find_if(widths, [&](const auto& w) { return w.first == dtype; });
  return found == widths.end() ? 0 : found->second;
}

/// Where the data begins, as the file says; its end where it says too much.
std::size_t data_start(const std::string& file) {
  std::uint64_t length = 0;
  std::memcpy(&length, file.data(), std::min<std::size_t>(8, file.size()));
  const std::size_t most = file.size() < 8 ? 0 : file.size() - 8;
  return file.size() - most + std::min<std::uint64_t>(length, most);
}

void check_index(const std::string& file, const io::TensorIndex& index) {
  const std::size_t start = data_start(file);
  Tree header = Tree::parse(file.substr(8, start - 8));
  header.erase("__metadata__");
  promised(header.size() == index.size(), "every tensor is in the index");
  std::vector<int> owners(file.size() - start, 0);
  for (const auto& [name, entry] : index) {
    promised(header.contains(name) && header[name]["shape"] == Tree(entry.shape) &&
                 header[name]["dtype"] == entry.dtype,
             "tensors are as the header says");
    promised(entry.offset >= start && entry.offset <= file.size() &&
                 entry.bytes <= file.size() - entry.offset,
             "tensors are inside the file");
    Wide bytes = width_of(entry.dtype);
    for (const std::uint64_t size : entry.shape) {
      promised(size == 0 || bytes <= ~Wide{0} / size, "sizes are numbers");
      bytes *= size;
    }
    promised(bytes == entry.bytes, "tensors are as large as their shapes say");
    for (Bytes i = 0; i < entry.bytes; ++i) ++owners[entry.offset - start + i];
  }
  promised(std::ranges::all_of(owners, [](int n) { return n == 1; }), "every byte is one tensor's");
}

/// Gives tensors offsets in the order of the header, where sizes are small; their sum.
std::size_t lay_out(Tree& header) {
  std::size_t end = 0;
  for (auto& [name, entry] : header.items()) {
    if (!entry.is_object() || !entry.contains("shape") || !entry["shape"].is_array()) continue;
    const std::string dtype = entry.contains("dtype") && entry["dtype"].is_string()
                                  ? entry["dtype"].get<std::string>()
                                  : "";
    std::uint64_t size = width_of(dtype);
    for (const Tree& one : entry["shape"])
      size *= one.is_number_unsigned() ? std::min<std::uint64_t>(one.get<std::uint64_t>(), 65) : 1;
    if (size > 4096) continue;
    entry["data_offsets"] = {end, end + size};
    end += size;
  }
  return end;
}

}  // namespace

bool accepts(const std::string& input) {
  static const MemoryFile memory;
  memory.fill(input);
  const io::File file(memory.path());
  io::TensorIndex index;
  try {
    index = io::read_safetensors_index(file);
  } catch (const DataError&) {
    return false;
  }
  check_index(input, index);
  return true;
}

std::string seed(Random& random) {
  Tree header = Tree::object();
  if (random.one_in(2)) header["__metadata__"] = {{"format", "pt"}};
  for (std::size_t n = random.below(4); n > 0; --n) {
    Tree shape = Tree::array();
    for (std::size_t d = random.below(4); d > 0; --d) shape.push_back(random.below(6));
    header["h." + std::to_string(n)] = {{"dtype", widths[random.below(widths.size())].first},
                                        {"shape", shape}};
  }
  const std::size_t size = lay_out(header);
  return test::safetensors(header.dump(), std::string(size, 'x'));
}

std::string changed(const std::string& input, Random& random, const ChangeBytes& change) {
  const std::size_t start = data_start(input);
  std::string header = input.size() < 8 ? "{}" : input.substr(8, start - 8);
  std::string data = input.substr(start);
  header = changed_json(std::move(header), random, change);
  Tree tree = Tree::parse(header, nullptr, false);
  if (tree.is_object() && random.one_in(2)) {
    data.resize(lay_out(tree), 'x');
    header = tree.dump(-1, ' ', false, Tree::error_handler_t::replace);
  } else if (random.one_in(8)) {
    data.resize(random.below(256), 'x');
  }
  return test::safetensors(header, data);
}

}  // namespace sherd::fuzz
