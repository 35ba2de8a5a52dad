#include "sherd/checkpoint/manifest.hpp"

#include <doctest/doctest.h>

#include "checkpoint/small_save.hpp"
#include "support/crash_images.hpp"

using namespace sherd;
using namespace sherd::test;
using namespace sherd::checkpoint;

namespace {

/// What the three ranks say of the state of `seed`.
std::vector<Contents> parts(std::uint64_t seed) {
  std::vector<Contents> all;
  for (Rank rank = 0; rank < ranks; ++rank) {
    const FileImage image = image_of(rank);
    const Bytes size = round_up(image.bytes(), io::direct_block);
    Contents part;
    part.files.push_back({image.name, size, {static_cast<std::uint32_t>(rank) + 1}});
    std::map<std::string, Tensor> tensors;
    Bytes offset = 0;
    for (const Piece& piece : image.pieces) {
      Tensor& tensor = tensors[image.names[piece.tensor]];
      tensor.name = image.names[piece.tensor];
      tensor.shape = image.shapes[piece.tensor];
      const std::byte* bytes = value(piece.tensor, {piece.state, piece.type}, seed).data() +
                               packed_bytes(piece.type, piece.first);
      tensor.states.push_back({piece.state,
                               piece.type,
                               digest_of(piece.type, piece.first / 256, piece.count, bytes),
                               {{0, offset, piece.first, piece.count}}});
      offset += packed_bytes(piece.type, piece.count);
    }
    for (auto& [name, tensor] : tensors) part.tensors.push_back(tensor);
    all.push_back(std::move(part));
  }
  return all;
}

template <class Call>
std::string refusal(Call&& call) {
  try {
    call();
  } catch (const DataError& error) {
    return error.what();
  }
  return "";
}
bool names(const std::string& text, const std::string& part) {
  return text.find(part) != text.npos;
}

}  // namespace

TEST_CASE("a manifest comes back from its text as it was, to the bit") {
  Manifest m = manifest_of(7, 0xfedcba9876543210u);
  m.progress = {0x1.fffffep+12f, 3, 2, 1, 9, 7};
  m.model = "gpt2 \"quoted\" \\ \xc3\xa9\n";
  m.settings = {{"--lr", "0.1"}, {"--beta2", "0.95"}, {"", ""}};
  m.contents = merged(parts(5));
  const std::string text = to_text(m);
  const Manifest back = parse_manifest("manifest.json", text);
  CHECK(to_text(back) == text);
  CHECK(back.progress == m.progress);
  CHECK(back.model == m.model);
  CHECK(back.settings == m.settings);
  CHECK(back.start_weights == m.start_weights);
  CHECK(back.world == ranks);
  CHECK(back.contents.files.size() == ranks);
  CHECK(back.contents.files[1].name == "rank-001.bin");
  CHECK(back.contents.files[1].blocks == std::vector<std::uint32_t>{2});
  REQUIRE(back.contents.tensors.size() == 2);
  const Tensor& tensor = back.contents.tensors[0];
  CHECK(tensor.name == "block.weight");
  CHECK(tensor.shape == Shape{4, 250});
  REQUIRE(tensor.states.size() == 3);
  CHECK(tensor.states[1].type == DType::q8);
  REQUIRE(tensor.states[1].extents.size() == 2);
  CHECK(tensor.states[1].extents[1].file == 1);
  CHECK(tensor.states[1].extents[1].first == 512);
  CHECK(to_text(parse_part("part", to_text(parts(5)[1]))) == to_text(parts(5)[1]));
}

TEST_CASE("a digest is the same however a tensor is cut") {
  Draw draw(1);
  for (const DType type : {DType::f32, DType::bf16, DType::q8}) {
    const std::uint64_t numel = 256 * 9 + 77;
    FileBytes bytes(packed_bytes(type, numel));
    for (std::byte& byte : bytes) byte = static_cast<std::byte>(draw());
    const Digest whole = digest_of(type, 0, numel, bytes.data());
    for (int trial = 0; trial < 50; ++trial) {
      Digest sum{};
      for (std::uint64_t first = 0; first < numel;) {
        const std::uint64_t count = std::min(numel - first, 256 * (1 + draw.below(4)));
        add(sum, digest_of(type, first / 256, count, bytes.data() + packed_bytes(type, first)));
        first += count;
      }
      REQUIRE(sum == whole);
    }
    // Quanta that change places, or a bit that flips, make another.
    FileBytes other = bytes;
    std::swap_ranges(other.begin(), other.begin() + 256, other.begin() + 1024);
    if (other != bytes) CHECK(digest_of(type, 0, numel, other.data()) != whole);
    other = bytes;
    other.back() ^= std::byte{1};
    CHECK(digest_of(type, 0, numel, other.data()) != whole);
  }
}

TEST_CASE("parts merge in any order into one whole, and not without one or with one twice") {
  std::vector<Contents> all = parts(3);
  const Contents whole = merged(all);
  for (std::size_t t = 0; t < tensor_names.size(); ++t) {
    for (const Kept& one : kept)
      CHECK(whole.tensors[t].find(one.state)->digest ==
            digest_of(one.type, 0, numels[t], value(t, one, 3).data()));
  }
  std::vector<Contents> turned{all[2], all[0], all[1]};
  CHECK(merged(turned).tensors[0].states[0].digest == whole.tensors[0].states[0].digest);
  for (std::size_t rank = 0; rank < ranks; ++rank) {
    std::vector<Contents> fewer = all, twice = all;
    fewer.erase(fewer.begin() + static_cast<std::ptrdiff_t>(rank));
    CHECK(names(refusal([&] { (void)merged(fewer); }), "missing"));
    twice.push_back(all[rank]);
    twice.back().files[0].name = "rank-003.bin";
    CHECK(names(refusal([&] { (void)merged(twice); }), "there twice"));
  }
}

TEST_CASE("ranks that disagree about a tensor are refused by its name") {
  std::vector<Contents> shapes = parts(3), types = parts(3), files = parts(3), blocks = parts(3);
  shapes[1].tensors[0].shape = {2, 500};
  CHECK(names(refusal([&] { (void)merged(shapes); }), "'block.weight'"));
  types[1].tensors[0].states[0].type = DType::bf16;
  CHECK(names(refusal([&] { (void)merged(types); }), "'block.weight'"));
  files[1].files[0].name = "rank-000.bin";
  CHECK(names(refusal([&] { (void)merged(files); }), "'rank-000.bin' is there twice"));
  blocks[1].files[0].blocks.clear();
  CHECK(names(refusal([&] { (void)merged(blocks); }), "'rank-001.bin'"));
}
