// Files of tokens as llm.c writes them.
#include <algorithm>
#include <cstring>
#include <vector>

#include "data/token_file.hpp"
#include "fuzz/memory_file.hpp"
#include "fuzz/target.hpp"
#include "sherd/base/errors.hpp"

namespace sherd::fuzz {
namespace {

constexpr std::size_t header_bytes = 1024;
constexpr std::int32_t narrow = 20240520, wide = 20240801;

std::int32_t word(const std::string& file, std::size_t index) {
  std::int32_t value = 0;
  if (file.size() >= 4 * (index + 1)) std::memcpy(&value, file.data() + 4 * index, 4);
  return value;
}
void put_word(std::string& file, std::size_t index, std::int32_t value) {
  std::memcpy(file.data() + 4 * index, &value, 4);
}
std::size_t width_of(const std::string& file) { return word(file, 0) == wide ? 4 : 2; }

std::uint32_t element(const std::string& file, std::size_t index) {
  std::uint32_t value = 0;
  std::memcpy(&value, file.data() + header_bytes + index * width_of(file), width_of(file));
  return value;
}

}  // namespace

bool accepts(const std::string& input) {
  static const MemoryFile memory;
  memory.fill(input);
  data::TokenArray array;
  try {
    array = data::TokenArray::open(memory.path(), data::TokenFormat::llmc);
  } catch (const DataError&) {
    return false;
  }
  promised(array.count() * width_of(input) + header_bytes == input.size(), "tokens are the rest");
  std::vector<std::int32_t> tokens(array.count());
  constexpr std::uint32_t limit = 50257;
  std::size_t good = 0;
  while (good < tokens.size() && element(input, good) < limit) ++good;
  try {
    array.read(0, tokens, {limit, std::nullopt});
    promised(good == tokens.size(), "a token outside the vocabulary is refused");
  } catch (const DataError&) {
    promised(good < tokens.size(), "tokens inside the vocabulary are read");
  }
  for (std::size_t i = 0; i < good; ++i)
    promised(static_cast<std::uint32_t>(tokens[i]) == element(input, i),
             "tokens are as they stand");
  return true;
}

std::string seed(Random& random) {
  std::string file(header_bytes, '\0');
  const bool four = random.one_in(2);
  const std::size_t count = random.below(64);
  put_word(file, 0, four ? wide : narrow);
  put_word(file, 1, four && random.one_in(2) ? 7 : 1);
  put_word(file, 2, static_cast<std::int32_t>(count));
  for (std::size_t i = 0; i < count * (four ? 2 : 1); ++i)
    file += {static_cast<char>(random.below(256)), '\0'};
  return file;
}

std::string changed(const std::string& input, Random& random, const ChangeBytes& change) {
  std::string head = input.substr(0, header_bytes), data = input.substr(head.size());
  change(random.one_in(3) ? head : data);
  std::string file = head;
  file.resize(header_bytes, '\0');
  if (random.one_in(4)) put_word(file, 0, random.one_in(2) ? wide : narrow);
  if (random.one_in(4)) put_word(file, 1, random.one_in(2) ? 1 : 7);
  if (!random.one_in(4)) put_word(file, 2, static_cast<std::int32_t>(data.size() / width_of(file)));
  return file + data;
}

}  // namespace sherd::fuzz
