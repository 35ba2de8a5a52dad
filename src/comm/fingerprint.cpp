#include "comm/fingerprint.hpp"

#include <algorithm>
#include <cstring>

#include "sherd/base/philox.hpp"

namespace sherd::comm {
namespace {

enum Word : std::size_t { kind, bytes, offset, detail, name, key };

std::uint64_t load(const MemberRecord& record, Word word) {
  return record.call[word].load(std::memory_order_relaxed);
}

std::string_view type_of(const MemberRecord& record) {
  const auto type = static_cast<std::uint8_t>(load(record, kind) >> 8);
  return type <= static_cast<std::uint8_t>(DType::u8) ? name_of(static_cast<DType>(type)) : "?";
}

}  // namespace

void write_call(MemberRecord& record, const Call& call) noexcept {
  const auto store = [&](Word word, std::uint64_t value) {
    record.call[word].store(value, std::memory_order_relaxed);
  };
  store(kind, static_cast<std::uint64_t>(call.verb) | static_cast<std::uint64_t>(call.type) << 8);
  store(bytes, call.bytes);
  store(offset, call.offset);
  store(detail, call.detail);
  store(name, hash_name(call.label.what));
  store(key, call.label.key);
  std::array<char, sizeof(record.phrase)> text{};
  std::memcpy(text.data(), call.label.what.data(),
              std::min(call.label.what.size(), text.size() - 1));
  for (std::size_t word = 0; word < record.phrase.size(); ++word) {
    std::uint64_t part = 0;
    std::memcpy(&part, text.data() + word * sizeof(part), sizeof(part));
    record.phrase[word].store(part, std::memory_order_relaxed);
  }
}

bool same_call(const MemberRecord& a, const MemberRecord& b) noexcept {
  for (std::size_t word = 0; word < a.call.size(); ++word) {
    if (load(a, static_cast<Word>(word)) != load(b, static_cast<Word>(word))) return false;
  }
  return true;
}

std::string named_call(const MemberRecord& record) {
  std::array<char, sizeof(record.phrase)> text{};
  for (std::size_t word = 0; word < record.phrase.size(); ++word) {
    const std::uint64_t part = record.phrase[word].load(std::memory_order_relaxed);
    std::memcpy(text.data() + word * sizeof(part), &part, sizeof(part));
  }
  const std::string_view phrase(text.data(), strnlen(text.data(), text.size()));
  const auto verb = static_cast<Verb>(load(record, kind) & 0xff);
  return std::string(name_of(verb)) + " \"" + printable(phrase) + "\"";
}

std::string full_call(const MemberRecord& record) {
  return named_call(record) + " (" + std::to_string(load(record, bytes)) + " B " +
         std::string(type_of(record)) + " at " + std::to_string(load(record, offset)) +
         ", detail " + std::to_string(load(record, detail)) + ", key " +
         std::to_string(load(record, key)) + ")";
}

std::string printable(std::string_view text) {
  std::string clean(text);
  std::replace_if(
      clean.begin(), clean.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
  return clean;
}

}  // namespace sherd::comm
