#include "data/digest.hpp"

#include <xxhash.h>

#include <algorithm>
#include <array>
#include <new>
#include <vector>

namespace sherd::data {

struct Digest::State {
  XXH3_state_t* hash = XXH3_createState();
  State() {
    if (hash == nullptr) throw std::bad_alloc();
    XXH3_128bits_reset(hash);
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() { XXH3_freeState(hash); }
};

Digest::Digest() : state_(std::make_unique<State>()) {}
Digest::~Digest() = default;

void Digest::add(std::span<const std::byte> bytes) {
  XXH3_128bits_update(state_->hash, bytes.data(), bytes.size());
}

void Digest::add(std::string_view text) {
  add(std::as_bytes(std::span<const char>(text.data(), text.size())));
}

void Digest::add(const io::File& file, Bytes first, Bytes size) {
  std::vector<std::byte> block(std::min<Bytes>(size, mib));
  while (size > 0) {
    const std::span<std::byte> now = std::span(block).first(std::min<Bytes>(size, block.size()));
    file.pread_exact(first, now);
    add(now);
    first += now.size();
    size -= now.size();
  }
}

std::string Digest::hex() const {
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(state_->hash));
  constexpr std::string_view digits = "0123456789abcdef";
  std::string text;
  for (const unsigned char byte : canonical.digest) {
    text += digits[byte >> 4];
    text += digits[byte & 15];
  }
  return text;
}

std::string digest_of(std::string_view text) {
  Digest digest;
  digest.add(text);
  return digest.hex();
}

std::string digest_of(const io::File& file) {
  Digest digest;
  digest.add(file, 0, file.size());
  return digest.hex();
}

}  // namespace sherd::data
