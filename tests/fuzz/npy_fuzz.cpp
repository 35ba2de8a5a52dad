// Arrays of numpy: the header, and their elements as tokens.
#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <vector>

#include "data/token_file.hpp"
#include "fuzz/memory_file.hpp"
#include "fuzz/target.hpp"
#include "io/temp_folder.hpp"
#include "sherd/base/errors.hpp"
#include "sherd/io/npy.hpp"

namespace sherd::fuzz {
namespace {

using Wide = unsigned __int128;

constexpr std::array<const char*, 8> kinds = {"<u2", "<u4", "<i4", "<i8",
                                              "<f4", "<f8", "|u1", "<u1"};

/// Where the elements begin, as the file says; its end where it says too much.
std::size_t data_start(const std::string& file) {
  const std::size_t prefix = file.size() > 6 && file[6] != 1 ? 12 : 10;
  if (file.size() < prefix) return file.size();
  std::uint32_t length = 0;
  std::memcpy(&length, file.data() + 8, prefix - 8);
  return prefix + std::min<std::size_t>(length, file.size() - prefix);
}

/// Bytes of elements that the text of a header promises; nothing if they are many or unclear.
std::size_t promised_bytes(const std::string& header) {
  std::size_t bytes = 1;
  const std::size_t kind = header.find_first_of("<|"), shape = header.find('(');
  if (kind == std::string::npos || shape == std::string::npos || kind + 2 >= header.size())
    return 0;
  if (header[kind + 2] >= '1' && header[kind + 2] <= '8')
    bytes = static_cast<std::size_t>(header[kind + 2] - '0');
  for (const char* at = header.c_str() + shape; *at != '\0' && *at != ')'; ++at) {
    std::uint64_t size = 0;
    const auto [end, code] = std::from_chars(at, header.c_str() + header.size(), size);
    if (code != std::errc()) continue;
    bytes *= std::min<std::uint64_t>(size, 4096);
    at = end - 1;
  }
  return bytes <= 16384 ? bytes : 0;
}

std::string npy_file(int version, const std::string& header, const std::string& data) {
  std::string file("\x93NUMPY\0\0", 8);
  file[6] = static_cast<char>(version);
  const auto length = static_cast<std::uint32_t>(header.size());
  const std::string raw = test::bytes_of(std::vector{length});
  return file + raw.substr(0, version == 1 ? 2 : 4) + header + data;
}

/// All elements, by parts of odd sizes.
void read_tokens(const data::TokenArray& array) {
  std::vector<std::int32_t> block(777);
  try {
    for (std::uint64_t first = 0; first < array.count(); first += block.size()) {
      const auto now = std::min<std::uint64_t>(block.size(), array.count() - first);
      array.read(first, std::span(block).first(now), {50257, -100});
      promised(std::ranges::all_of(std::span(block).first(now),
                                   [](int t) { return t == -100 || (t >= 0 && t < 50257); }),
               "tokens are inside the vocabulary");
    }
  } catch (const DataError&) {  // of a token outside
  }
}

}  // namespace

bool accepts(const std::string& input) {
  static const MemoryFile memory;
  memory.fill(input);
  io::NpyHeader header;
  try {
    header = io::read_npy_header(io::File(memory.path()));
  } catch (const DataError&) {
    return false;
  }
  const bool one = header.dimensions == 1;
  promised(header.data_offset == data_start(input), "elements begin behind the header");
  promised((one && header.cols == 1) || header.dimensions == 2,
           "arrays have one or two dimensions");
  promised(Wide{header.rows} * header.cols <= ~Wide{0} / 8 &&
               Wide{header.rows} * header.cols * size_of(header.type) ==
                   input.size() - header.data_offset,
           "elements are the rest of the file");
  try {
    const auto array = data::TokenArray::open(memory.path(), data::TokenFormat::npy);
    promised(one && array.count() == header.rows, "all elements are tokens");
    read_tokens(array);
  } catch (const DataError&) {
    promised(!one || header.type == DType::f32 || header.type == DType::f64,
             "a row of whole numbers is tokens");
  }
  return true;
}

std::string seed(Random& random) {
  std::string shape = std::to_string(random.below(40)) + ",";
  if (random.one_in(3)) shape += " " + std::to_string(random.below(4));
  const std::string header = "{'descr': '" + std::string(kinds[random.below(kinds.size())]) +
                             "', 'fortran_order': False, 'shape': (" + shape + "), }\n";
  const std::size_t size = promised_bytes(header);
  return npy_file(1 + static_cast<int>(random.below(3)), header, std::string(size, '\1'));
}

std::string changed(const std::string& input, Random& random, const ChangeBytes& change) {
  const std::size_t start = data_start(input);
  const bool first = input.size() > 6 && input[6] == 1;
  std::string header = start > 12 ? input.substr(first ? 10 : 12, start - (first ? 10 : 12)) : "{";
  std::string data = input.substr(start);
  if (random.one_in(4)) {
    change(data);
  } else {
    change(header);
    if (random.one_in(8)) header.resize(std::min<std::size_t>(header.size(), 65535));
  }
  if (!random.one_in(4)) data.resize(promised_bytes(header), '\1');
  return npy_file(1 + static_cast<int>(random.below(3)), header, data);
}

}  // namespace sherd::fuzz
