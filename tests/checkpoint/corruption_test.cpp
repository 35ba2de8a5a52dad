// Altered, cut, swapped and hostile files: found before a byte of them is used.
#include <doctest/doctest.h>

#include <cstdlib>
#include <new>
#include <nlohmann/json.hpp>

#include "checkpoint/small_save.hpp"
#include "sherd/io/checksum.hpp"
#include "support/crash_images.hpp"

using namespace sherd;
using namespace sherd::test;
using Json = nlohmann::json;

namespace {

std::atomic<std::size_t> largest{0};  // allocation

}  // namespace

[[gnu::noinline]] void* operator new(std::size_t size) {
  std::size_t seen = largest;
  while (size > seen && !largest.compare_exchange_weak(seen, size)) {
  }
  if (void* memory = std::malloc(size == 0 ? 1 : size)) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace {

const std::string root = "/save", folder = root + "/step-000000000001";

struct Disk {
  MemoryStorage storage;
  Disk() {
    checkpoint::Store store(storage, root);
    store.enter();
    (void)save(store, 1, 10);
    (void)save(store, 2, 20);
  }
  [[nodiscard]] std::string text() const {
    const FileBytes bytes = storage.bytes_of(folder + "/manifest.json");
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  void put(const std::string& name, FileBytes bytes) {
    storage.alter(folder + "/" + name, std::move(bytes));
  }
};

template <class Call>
std::string refusal(Call&& call) {
  try {
    call();
  } catch (const DataError& error) {
    return error.what();
  }
  return "";
}
std::string parse_refusal(const std::string& text) {
  return refusal([&] { (void)checkpoint::parse_manifest("folder/manifest.json", text); });
}

/// What opening, verifying and loading say.
struct Said {
  std::string open, verify, load;
};
Said said_of(io::Storage& storage) {
  Said said;
  said.open = refusal([&] {
    const checkpoint::Checkpoint found(storage, folder);
    for (const std::string& problem : found.verify()) said.verify += problem + "\n";
  });
  said.load = refusal([&] { (void)seed_of(checkpoint::Checkpoint(storage, folder)); });
  return said;
}
bool names(const std::string& text, const std::string& part) {
  return text.find(part) != text.npos;
}

/// A place in a good manifest and what makes it a bad one.
struct Case {
  const char *pointer, *value;
};
constexpr Case cases[] = {
    {"/version", "2"},
    {"/version", "null"},
    {"/world", "-1"},
    {"/world", "99999999999"},
    {"/run", "7"},
    {"/start_weights", "\"xyz\""},
    {"/start_weights", "\"00000000000000G0\""},
    {"/settings", "[]"},
    {"/settings/x", "{}"},
    {"/progress", "[]"},
    {"/progress/scale_bits", "2143289344"},
    {"/progress/scale_bits", "4294967296"},
    {"/progress/applied", "18446744073709551615"},
    {"/progress/step", "0.5"},
    {"/files", "{}"},
    {"/files/0", "[]"},
    {"/files/0/size", "18446744073709551615"},
    {"/files/0/size", "4611686018427387904"},
    {"/files/0/size", "0"},
    {"/files/0/size", "1e3"},
    {"/files/0/crc32c", "\"\""},
    {"/files/0/crc32c", "\"0000000\""},
    {"/files/0/crc32c", "\"0000000000000000\""},
    {"/files/0/crc32c", "\"0000ABCD\""},
    {"/files/0/name", "\"../manifest\""},
    {"/files/0/name", "\"/etc/passwd\""},
    {"/files/0/name", "\"\""},
    {"/files/0/name", "\".\""},
    {"/files/0/name", "\"a\\u0000b\""},
    {"/files/0/name", "\"manifest.json\""},
    {"/files/0/name", "\"rank-001.bin\""},
    {"/tensors", "null"},
    {"/tensors/0/name", "\"\""},
    {"/tensors/0/name", "\"zzz\""},
    {"/tensors/0/name", "\"head\""},
    {"/tensors/0/shape", "[1000]"},
    {"/tensors/0/shape", "[0, 4]"},
    {"/tensors/0/shape", "[-4, 250]"},
    {"/tensors/0/shape", "[281474976710656, 281474976710656]"},
    {"/tensors/0/shape", "[4, 251]"},
    {"/tensors/0/shape", "[4, 249]"},
    {"/tensors/0/states/1/state", "\"param\""},
    {"/tensors/0/states/0/state", "\"weights\""},
    {"/tensors/0/states/0/dtype", "\"f64\""},
    {"/tensors/0/states/0/dtype", "\"q8\""},
    {"/tensors/0/states/0/dtype", "\"u16\""},
    {"/tensors/0/states/0/digest", "\"00\""},
    {"/tensors/0/states/0/extents", "[]"},
    {"/tensors/0/states/0/extents/0", "[0, 0, 0]"},
    {"/tensors/0/states/0/extents/0/0", "3"},
    {"/tensors/0/states/0/extents/0/0", "4294967296"},
    {"/tensors/0/states/0/extents/0/1", "4611686018427387904"},
    {"/tensors/0/states/0/extents/0/1", "4000"},
    {"/tensors/0/states/0/extents/0/1", "256"},
    {"/tensors/0/states/0/extents/0/2", "256"},
    {"/tensors/0/states/0/extents/0/3", "0"},
    {"/tensors/0/states/0/extents/0/3", "511"},
    {"/tensors/0/states/0/extents/0/3", "4611686018427387904"},
    {"/tensors/0/states/0/extents/1/2", "0"},
    {"/tensors/0/states/0/extents/1/2", "768"},
};

/// A manifest of this body whose checksum is right.
std::string sealed(const std::string& body) {
  char digits[9];
  std::snprintf(digits, sizeof digits, "%08x",
                io::crc32c(std::as_bytes(std::span(body.data(), body.size()))));
  return "{\"checkpoint\":" + body + ",\"crc32c\":\"" + digits + "\"}\n";
}
Json body_of(const std::string& text) { return Json::parse(text).at("checkpoint"); }

}  // namespace

TEST_CASE("every flipped bit of a manifest is found") {
  const Disk disk;
  const std::string text = disk.text();
  REQUIRE(parse_refusal(text).empty());
  std::size_t missed = 0;
  for (std::size_t bit = 0; bit < text.size() * 8; ++bit) {
    std::string altered = text;
    altered[bit / 8] = static_cast<char>(altered[bit / 8] ^ (1 << bit % 8));
    if (!names(parse_refusal(altered), "folder/manifest.json: ")) ++missed;
  }
  CHECK(missed == 0);
}

TEST_CASE("a manifest cut short anywhere is refused") {
  const std::string text = Disk().text();
  for (std::size_t size = 0; size < text.size(); ++size)
    REQUIRE(names(parse_refusal(text.substr(0, size)), "manifest.json"));
  CHECK(names(parse_refusal(text + "\n"), "manifest.json"));
  CHECK(names(parse_refusal(text + text), "manifest.json"));
}

TEST_CASE("flipped bits of data are found by verifying and by loading, file and tensor named") {
  Disk disk;
  Draw draw(20260101);
  std::size_t missed = 0;
  for (int trial = 0; trial < SHERD_FLIPS; ++trial) {
    const Rank rank = static_cast<Rank>(draw.below(ranks));
    const std::string name = "rank-00" + std::to_string(rank) + ".bin";
    const FileBytes whole = disk.storage.bytes_of(folder + "/" + name);
    FileBytes altered = whole;
    for (std::uint64_t flips = 1 + draw.below(3); flips > 0; --flips)
      altered[draw.below(altered.size())] ^= static_cast<std::byte>(1 << draw.below(8));
    if (altered == whole) continue;
    disk.put(name, altered);
    const Said said = said_of(disk.storage);
    const std::string tensor = rank == 2 ? "'head'" : "'block.weight'";
    const bool found = said.open.empty() && names(said.verify, name) &&
                       names(said.verify, tensor) && names(said.load, folder + "/" + name) &&
                       names(said.load, tensor) && names(said.load, "bytes 0 to ");
    if (!found) ++missed;
    disk.put(name, whole);
  }
  CHECK(missed == 0);
  CHECK(said_of(disk.storage).load.empty());
}

TEST_CASE("data cut short, grown, swapped, missing or of another step is named") {
  Disk disk;
  const std::string name = "rank-001.bin", path = folder + "/" + name;
  const FileBytes whole = disk.storage.bytes_of(path);
  for (std::size_t size = 0; size <= whole.size() + 512; size += 512) {
    FileBytes other = whole;
    other.resize(size);
    if (size == whole.size()) other.push_back(std::byte{0});
    disk.put(name, other);
    CHECK(names(said_of(disk.storage).open, path + ": got " + std::to_string(other.size())));
    CHECK(names(said_of(disk.storage).load, path));
  }
  const FileBytes third = disk.storage.bytes_of(folder + "/rank-002.bin");
  REQUIRE(third.size() == whole.size());
  disk.put(name, third);
  disk.put("rank-002.bin", whole);
  CHECK(names(said_of(disk.storage).verify, path));
  CHECK(names(said_of(disk.storage).verify, "rank-002.bin"));
  CHECK(names(said_of(disk.storage).load, path));
  disk.put("rank-002.bin", third);
  disk.put(name, disk.storage.bytes_of(root + "/step-000000000002/" + name));
  CHECK(names(said_of(disk.storage).load, path));
  REQUIRE(disk.storage.remove(path) == 0);
  CHECK(names(said_of(disk.storage).open, path));
  REQUIRE(disk.storage.make_folder(path) == 0);
  CHECK(names(said_of(disk.storage).open, path));
  REQUIRE(disk.storage.remove(folder + "/manifest.json") == 0);
  CHECK(names(said_of(disk.storage).open, "manifest.json"));
}

TEST_CASE("hostile manifests with right checksums are refused without large allocations") {
  const Json good = body_of(Disk().text());
  REQUIRE(parse_refusal(sealed(good.dump())).empty());
  for (const Case& one : cases) {
    Json body = good;
    body[Json::json_pointer(one.pointer)] = Json::parse(one.value);
    CAPTURE(one.pointer);
    CAPTURE(one.value);
    const std::string text = sealed(body.dump());
    largest = 0;
    CHECK(names(parse_refusal(text), "folder/manifest.json: "));
    CHECK(largest <= text.size() + 64 * kib);
  }
  for (const auto& [key, value] : good.items()) {
    Json body = good;
    body.erase(key);
    CAPTURE(key);
    CHECK(names(parse_refusal(sealed(body.dump())), key));
  }
}

TEST_CASE("manifests that are no object, nested deep, or have a key twice are refused") {
  const std::string body = body_of(Disk().text()).dump();
  for (const std::string& text :
       {std::string("[]"), std::string("null"), std::string("7"), std::string(""),
        std::string(100'000, '['), "{\"a\":" + std::string(100'000, '{'),
        "{\"version\":1," + body.substr(1), body + ",\"x\":{}", body.substr(0, body.size() - 1)}) {
    CAPTURE(text.substr(0, 40));
    CHECK(names(parse_refusal(sealed(text)), "manifest.json"));
  }
}
