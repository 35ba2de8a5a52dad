#include "data/fingerprint.hpp"

#include <xxhash.h>

#include <algorithm>
#include <array>
#include <new>

namespace sherd::data {

struct Fingerprint::State {
  XXH64_state_t* hash = XXH64_createState();
  State() {
    if (hash == nullptr) throw std::bad_alloc();
    XXH64_reset(hash, 0);
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() { XXH64_freeState(hash); }
};

Fingerprint::Fingerprint() : state_(std::make_unique<State>()) {}
Fingerprint::~Fingerprint() = default;

std::uint64_t Fingerprint::value() const { return XXH64_digest(state_->hash); }

void Fingerprint::add(std::uint64_t number) {
  add(std::as_bytes(std::span<const std::uint64_t>(&number, 1)));
}

void Fingerprint::add(std::span<const std::byte> bytes) {
  XXH64_update(state_->hash, bytes.data(), bytes.size());
}

void Fingerprint::add_range(const io::File& file, Bytes first, Bytes size) {
  std::array<std::byte, 16 * kib> block{};
  while (size > 0) {
    const Bytes now = std::min<Bytes>(size, block.size());
    file.pread_exact(first, std::span(block).first(now));
    add(std::span(block).first(now));
    first += now;
    size -= now;
  }
}

void Fingerprint::add(const io::File& file) {
  constexpr Bytes edge = mib, block = 4 * kib, blocks = 64;
  const Bytes size = file.size();
  add(size);
  if (size <= 2 * edge) return add_range(file, 0, size);
  add_range(file, 0, edge);
  const Bytes middle = size - 2 * edge;
  // Division first keeps the product below 2^64 for any file size.
  for (Bytes i = 0; i < blocks; ++i) {
    const Bytes first = middle / blocks * i;
    add_range(file, edge + first, std::min(block, middle - first));
  }
  add_range(file, size - edge, edge);
}

}  // namespace sherd::data
