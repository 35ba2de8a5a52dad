// Drives a target by libFuzzer, and says at the end how many inputs it accepted.
#include <algorithm>
#include <cstring>

#include "fuzz/target.hpp"

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t most);

namespace {

std::uint64_t inputs = 0, accepted = 0;

void report() {
  std::fprintf(stderr, "inputs %llu accepted %llu\n", static_cast<unsigned long long>(inputs),
               static_cast<unsigned long long>(accepted));
}

void change_bytes(std::string& text) {
  const std::size_t size = text.size(), most = size + 64;
  text.resize(most);
  text.resize(LLVMFuzzerMutate(reinterpret_cast<std::uint8_t*>(text.data()), size, most));
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  std::atexit(report);
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ++inputs;
  accepted += sherd::fuzz::accepts({reinterpret_cast<const char*>(data), size}) ? 1 : 0;
  return 0;
}

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size,
                                               std::size_t most, unsigned int seed) {
  sherd::fuzz::Random random(seed);
  std::string text(reinterpret_cast<const char*>(data), size);
  if (random.one_in(16)) return LLVMFuzzerMutate(data, size, most);
  const bool fresh = size < 8 || random.one_in(32);
  if (fresh) text = sherd::fuzz::seed(random);
  if (!fresh || random.one_in(2)) text = sherd::fuzz::changed(text, random, change_bytes);
  const std::size_t kept = std::min(most, text.size());
  std::memcpy(data, text.data(), kept);
  return kept;
}
