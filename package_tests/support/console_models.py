"""Models of different kinds. The console shows an example of each, which has to be valid."""

from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import (
    UUID1,
    AnyUrl,
    Base64Bytes,
    BaseModel,
    ConfigDict,
    Field,
    HttpUrl,
    Json,
    PostgresDsn,
    RootModel,
    SecretStr,
    WithJsonSchema,
)


class Level(IntEnum):
    LOW = 3
    HIGH = 9


class Color(Enum):
    RED = "red"
    BLUE = "blue"


class Dates(BaseModel):
    day: date
    at: datetime
    clock: time
    period: timedelta
    due: date | None = None


class Formats(BaseModel):
    id: UUID
    first: UUID1
    email: Annotated[
        str, WithJsonSchema({"type": "string", "format": "email", "minLength": 30}), Field(pattern="^.+@.+$")
    ]
    link: HttpUrl
    other: AnyUrl | None
    database: PostgresDsn
    four: IPv4Address
    six: IPv6Address
    network: IPv4Network
    content: Base64Bytes
    secret: SecretStr = Field(min_length=12)
    nested: Json[dict[str, int]]


class Texts(BaseModel):
    short: str = Field(max_length=2)
    long: str = Field(min_length=40, max_length=50)
    exact: str = Field(min_length=7, max_length=7)
    code: str = Field(pattern=r"^[A-Z]{3}-\d{4}$")
    phone: str = Field(pattern=r"^\+?[1-9]\d{7,14}$")
    slug: str = Field(pattern=r"^[a-z0-9]+(?:-[a-z0-9]+)*$", min_length=9, max_length=12)
    word: str = Field(pattern="^(sun|moon)$")
    color: str = Field(pattern="^#[0-9a-fA-F]{6}$")
    without: str = Field(pattern=r"^[^a-z\s]+$")


class Whole(BaseModel):
    plain: int
    least: int = Field(ge=10)
    above: int = Field(gt=10, multiple_of=7)
    below: int = Field(lt=-4)
    between: int = Field(gt=41, lt=43)
    zero: int = Field(ge=0, le=0)
    large: int = Field(ge=9007199254740993)


class Parts(BaseModel):
    share: float = Field(gt=0, lt=1)
    small: float = Field(gt=0, lt=0.01)
    step: float = Field(ge=0.2, multiple_of=0.25)
    most: float = Field(le=-2.5)
    price: Decimal = Field(gt=0, max_digits=5, decimal_places=2)
    rate: Decimal = Field(ge=Decimal("0.5"), lt=1)
    text: Annotated[
        Decimal,
        WithJsonSchema({"type": "string", "pattern": r"^(?!^[-+.]*$)[+-]?0*\d*\.?\d*$"}),
    ]


class Stated(BaseModel):
    named: str = Field(examples=["Ada"])
    default: int = 7
    exact: Decimal = Decimal("1.10")
    kind: Literal["order"]
    level: Level
    color: Color | None = None
    large: int = 9007199254740993


class Lists(BaseModel):
    some: list[int] = Field(min_length=3)
    different: set[date] = Field(min_length=3)
    colors: set[Color] = Field(min_length=2)
    pair: tuple[int, str]
    grid: list[list[Annotated[float, Field(ge=0.5)]]] = Field(min_length=2)
    none: list[str] = Field(max_length=0)
    codes: set[Annotated[str, Field(pattern=r"^[A-Z]\d$")]] = Field(min_length=2)


class Dictionaries(BaseModel):
    counts: dict[str, int]
    by_number: dict[int, str]
    by_id: dict[UUID, bool]
    by_code: dict[Annotated[str, Field(pattern="^x-[a-z]+$")], int] = Field(min_length=2)
    several: dict[str, date] = Field(min_length=3)
    anything: dict[str, Any]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str
    note: str | None
    either: int | str
    flag: bool
    anything: Any
    nothing: None


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, int]

    name: str


class Aliased(BaseModel):
    given: str = Field(alias="first-name")
    order: int = Field(validation_alias="$order")


class Node(BaseModel):
    name: str
    parent: "Node | None"
    children: list["Node"]


class Chain(BaseModel):
    value: int
    next: "Chain | None" = None


class Number(BaseModel):
    kind: Literal["number"]
    value: float


class Sum(BaseModel):
    kind: Literal["sum"]
    left: "Expression"
    right: "Expression"


Expression = Annotated[Sum | Number, Field(discriminator="kind")]


class Formula(BaseModel):
    root: Expression
    names: list[Expression] = Field(min_length=1)


class Cat(BaseModel):
    pet: Literal["cat"]
    lives: int = Field(ge=9)


class Dog(BaseModel):
    pet: Literal["dog"]
    breed: str = Field(min_length=5)


class Owner(BaseModel):
    pet: Cat | Dog = Field(discriminator="pet")
    others: list[Cat | Dog | None]


class Combined(BaseModel):
    both: Annotated[
        Dog,
        WithJsonSchema(
            {
                "allOf": [
                    {"type": "object", "required": ["pet"], "properties": {"pet": {"const": "dog"}}},
                    {"required": ["breed"], "properties": {"breed": {"type": ["null", "string"], "minLength": 5}}},
                ]
            }
        ),
    ]


class Derived(Owner):
    since: date
    address: "Address"


class Address(BaseModel):
    street: str = Field(min_length=3)
    number: int = Field(gt=0)
    zip: str = Field(pattern=r"^\d{5}$")


class Deep(BaseModel):
    one: list[dict[str, list[Derived]]]
    two: dict[str, dict[str, Address]]


class Filled(BaseModel):
    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "Grace", "at": "1906-12-09"}]})

    name: str = Field(pattern="^Grace$")
    at: date


class Defaults(BaseModel):
    address: Address = Address(street="Main", number=1, zip="12345")
    tags: list[str] = ["a", "b"]
    level: Level = Level.HIGH
    empty: str = ""
    off: bool = False


class Quoted(BaseModel):
    text: str = Field(examples=['it\'s "quoted"\n\\ é 日本 😀'])
    words: list[Annotated[str, Field(examples=["word"])]] = Field(min_length=3)


class Addresses(RootModel[Annotated[list[Address], Field(min_length=2)]]):
    pass


class Either(RootModel[Address | Dates]):
    pass


class Plain(RootModel[dict[str, list[int]]]):
    pass


MODELS: dict[str, type[BaseModel]] = {
    kind.__name__: kind
    for kind in (
        Dates, Formats, Texts, Whole, Parts, Stated, Lists, Dictionaries, Strict, Open, Aliased, Node, Chain, Formula,
        Owner, Combined, Derived, Deep, Filled, Defaults, Quoted, Addresses, Either, Plain,
    )
}  # fmt: skip
